/// The domains that this project trained, by name: see `models/training`.
const DOMAINS: [(&str, &[u8]); 2] = [
    ("crops", include_bytes!("../../../configs/models/loupe-edge/crops.safetensors")),
    ("factory", include_bytes!("../../../configs/models/loupe-edge/factory.safetensors")),
];

/// Returns the names of the domains in the binary.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    DOMAINS.iter().map(|(name, _)| *name)
}

/// Returns the file of the domain of that name in the binary.
pub(super) fn bytes(name: &str) -> Option<&'static [u8]> {
    DOMAINS.iter().find(|(known, _)| *known == name).map(|(_, bytes)| *bytes)
}

use super::*;

/// Returns a device of each backend that is built and finds one; prints why where one is missing.
pub(crate) fn devices() -> Vec<BurnDevice> {
    let opened = BurnBackend::ALL.map(BurnDevice::open);
    #[expect(clippy::print_stderr, reason = "a skipped test says why")]
    for error in opened.iter().filter_map(|device| device.as_ref().err()) {
        eprintln!("skipped: {error}");
    }
    opened.into_iter().filter_map(Result::ok).collect()
}

#[test]
fn opens_what_is_built_and_says_how_to_get_the_rest() {
    for backend in BurnBackend::ALL {
        match BurnDevice::open(backend) {
            Ok(device) => assert!(backend.is_built() && device.name().starts_with("burn "), "{}", device.name()),
            // Every machine has a processor, but not every one a GPU.
            Err(error) if backend.is_built() => {
                assert!(
                    backend != BurnBackend::Cpu && error.to_string().starts_with(&format!("device {backend}")),
                    "{error}"
                );
            }
            Err(error) => {
                let feature = backend.feature();
                let expected =
                    format!("device {backend}: expected a build with it, found none; build with --features {feature}");
                assert_eq!(error.to_string(), expected);
            }
        }
    }
}

#[test]
fn takes_nothing_but_a_gpu_for_one() {
    match BurnDevice::gpu() {
        Ok(device) => assert!(device.is_gpu(), "{}", device.name()),
        Err(error) => assert!(error.to_string().starts_with("device gpu: expected a "), "{error}"),
    }
}

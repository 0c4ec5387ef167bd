use models::HeatMap;

/// Heat over threshold at which a veil is at its densest.
const FULL_RATIO: f32 = 4.0;
/// Where heat is hardly above the threshold, its surroundings from this share of the peak on are veiled, too: a few pixels would not be seen.
const FOOT_RATIO: f32 = 0.9;
/// Where heat stays below the threshold, it is veiled from this share of its own peak on.
const FAINT_RATIO: f32 = 0.5;
/// Density at the peak of heat that stays below the threshold.
const FAINT_DENSITY: f32 = 0.5;

/// How dense heat is drawn over a picture.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Veil {
    /// From `from` on, the denser the more often it is the threshold.
    Strange { from: f32, threshold: f32 },
    /// Nothing is above the threshold: faintly, up to the peak.
    Faint { peak: f32 },
    /// There is no heat.
    Nothing,
}

impl Veil {
    /// Returns the veil for a picture with this `heat`.
    pub(super) fn of(heat: &HeatMap) -> Self {
        let (peak, threshold) =
            (heat.values.iter().copied().fold(0.0, f32::max), heat.threshold.max(f32::MIN_POSITIVE));
        match peak {
            peak if peak >= threshold => Self::Strange { from: threshold.min(peak * FOOT_RATIO), threshold },
            peak if peak > 0.0 => Self::Faint { peak },
            _ => Self::Nothing,
        }
    }

    /// Returns how much of a pixel with this `heat` the veil covers, 0..=1.
    pub(super) fn density(self, heat: f32) -> f32 {
        match self {
            Self::Strange { from, threshold } if heat >= from => {
                0.3 + 0.4 * ((heat / threshold).clamp(1.0, FULL_RATIO).ln() / FULL_RATIO.ln())
            }
            Self::Faint { peak } if heat > peak * FAINT_RATIO => {
                FAINT_DENSITY * (heat / peak - FAINT_RATIO) / (1.0 - FAINT_RATIO)
            }
            _ => 0.0,
        }
    }

    /// Returns what has to be said of it; empty where heat is drawn from the threshold on.
    pub(super) const fn caption(self) -> &'static str {
        match self {
            Self::Strange { .. } => "",
            Self::Faint { .. } => "The heat stays below the threshold; it is shown up to its own maximum.",
            Self::Nothing => "There is no heat at all.",
        }
    }
}

#[cfg(test)]
mod tests {
    use cameras::Size;

    use super::*;

    #[test]
    fn heat_is_seen_on_either_side_of_the_threshold() {
        let veil =
            |values: [f32; 3]| Veil::of(&HeatMap { size: Size::new(3, 1), values: values.to_vec(), threshold: 2.0 });
        let densities = |values: [f32; 3]| values.map(|value| veil(values).density(value));
        // Of what escaped, the hottest place is seen, what is half as hot is not.
        let [cold, warm, hot] = densities([0.9, 1.5, 1.8]);
        assert!(cold == 0.0 && warm > 0.2 && hot == FAINT_DENSITY, "{cold} {warm} {hot}");
        assert!(veil([0.9, 1.5, 1.8]).caption().contains("below the threshold"));
        // Hardly above the threshold: what is nearly as hot is seen with it.
        let [cold, warm, hot] = densities([1.7, 1.85, 2.01]);
        assert!(cold == 0.0 && warm >= 0.3 && hot > warm, "{cold} {warm} {hot}");
        // Far above it, from the threshold on.
        let [cold, warm, hot] = densities([1.99, 2.0, 80.0]);
        assert!(cold == 0.0 && warm > 0.29 && hot > 0.69, "{cold} {warm} {hot}");
        assert_eq!((veil([1.99, 2.0, 80.0]).caption(), densities([0.0; 3])), ("", [0.0; 3]));
    }
}

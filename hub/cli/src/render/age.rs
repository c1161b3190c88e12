//! Ages as kubectl prints them, and moments as RFC 3339.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};
use starling_model::Millis;

/// A moment of wall time; serialised as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) Millis);

impl Moment {
    /// Reads milliseconds as the wire has them, where zero is never.
    pub(crate) fn from_wire(millis: u64) -> Option<Self> {
        (millis != 0).then_some(Self(Millis(millis)))
    }

    /// Returns how long ago it was, for people.
    pub(crate) fn age(self, now: Millis) -> String {
        human(now.since(self.0))
    }
}

/// Returns the wall time.
pub(crate) fn now() -> Millis {
    Millis::default().plus(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

/// Returns the age of a moment, or `-` when it never was.
pub(crate) fn age_or_dash(moment: Option<Moment>, now: Millis) -> String {
    moment.map_or_else(|| "-".to_owned(), |moment| moment.age(now))
}

/// Returns a duration in at most two units, rounded down, by the thresholds of kubectl (`k8s.io/apimachinery`,
/// `duration.HumanDuration`).
pub(crate) fn human(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (minutes, hours, days, years) = (seconds / 60, seconds / 3600, seconds / 86_400, seconds / (86_400 * 365));
    let two = |large: u64, large_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{large}{large_unit}"),
        small => format!("{large}{large_unit}{small}{small_unit}"),
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => two(years, "y", days % 365, "d"),
        _ => format!("{years}y"),
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let millis = i64::try_from(self.0.0).map_err(serde::ser::Error::custom)?;
        let timestamp = jiff::Timestamp::from_millisecond(millis).map_err(serde::ser::Error::custom)?;
        serializer.collect_str(&timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_kubectls() {
        const MINUTE: u64 = 60;
        const HOUR: u64 = 60 * MINUTE;
        const DAY: u64 = 24 * HOUR;
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (9 * MINUTE + 30, "9m30s"),
            (10 * MINUTE, "10m"),
            (179 * MINUTE + 59, "179m"),
            (3 * HOUR, "3h"),
            (3 * HOUR + 5 * MINUTE, "3h5m"),
            (47 * HOUR, "47h"),
            (2 * DAY, "2d"),
            (3 * DAY + 4 * HOUR, "3d4h"),
            (8 * DAY, "8d"),
            (400 * DAY, "400d"),
            (730 * DAY, "2y"),
            (735 * DAY, "2y5d"),
            (9 * 365 * DAY, "9y"),
        ] {
            assert_eq!(human(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn moments_are_rfc_3339() {
        let moment = Moment::from_wire(1_795_243_800_250).unwrap();
        assert_eq!(serde_json::to_string(&moment).unwrap(), "\"2026-11-21T06:50:00.25Z\"");
        assert_eq!(Moment::from_wire(0), None);
        assert_eq!(age_or_dash(None, now()), "-");
        assert_eq!(moment.age(Millis(0)), "0s");
    }
}

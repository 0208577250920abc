//! Metrics as a monitoring system reads them.

use std::collections::{BTreeMap, BTreeSet};

/// The value of every series, by its name and labels as they stand in the text.
pub type Samples = BTreeMap<String, f64>;

/// The samples of an exposition in the OpenMetrics format.
///
/// # Panics
/// When a line is none of that format, a series is there twice, or the end is missing.
#[must_use]
pub fn samples(exposition: &str) -> Samples {
    let lines = exposition.strip_suffix("# EOF\n").expect("it is whole");
    let mut samples = Samples::new();
    for line in lines.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').expect("a series and its value");
        let value = value.parse().expect("values are numbers");
        let twice = samples.insert(series.to_string(), value);
        assert!(twice.is_none(), "{series} is there twice");
    }
    samples
}

/// The names of the series, without labels.
#[must_use]
pub fn names(samples: &Samples) -> BTreeSet<&str> {
    let name = |series: &'_ String| series.find('{').unwrap_or(series.len());
    let names = samples.keys().map(|series| &series[..name(series)]);
    names.collect()
}

/// The names in the lines that begin with `# HELP`, each with what it says.
#[must_use]
pub fn help(exposition: &str) -> BTreeMap<&str, &str> {
    let helps = exposition.lines().filter_map(|line| {
        let help = line.strip_prefix("# HELP ")?;
        help.split_once(' ')
    });
    helps.collect()
}

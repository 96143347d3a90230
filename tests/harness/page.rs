//! A page of metrics, read as Prometheus reads it.

use std::collections::BTreeMap;

/// A page of metrics.
#[derive(Debug, Clone)]
pub struct Page {
    text: String,
    series: BTreeMap<String, String>,
}

impl Page {
    /// Asks for the page of this process.
    ///
    /// # Panics
    ///
    /// If it is not served, or is none.
    pub async fn of(http: &reqwest::Client, base: &str) -> Self {
        let answer = http.get(format!("{base}/metrics")).send().await.expect("an HTTP answer");
        assert_eq!(answer.status().as_u16(), 200, "{base}/metrics");
        Self::parse(answer.text().await.expect("a text"))
    }

    fn parse(text: String) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a series and its value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.strip_suffix('}').expect("labels end");
            let mut labels: Vec<&str> = labels.split(',').filter(|label| !label.is_empty()).collect();
            labels.sort_unstable();
            (format!("{name}{{{}}}", labels.join(",")), value.to_owned())
        };
        let series = lines.map(sample).collect();
        Self { text, series }
    }

    /// The value of a series with exactly these labels, in any order, as it stands there; `None` if there is none.
    #[must_use]
    pub fn find(&self, name: &str, labels: &[(&str, &str)]) -> Option<&str> {
        let mut labels: Vec<String> =
            labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
        labels.sort_unstable();
        self.series.get(&format!("{name}{{{}}}", labels.join(","))).map(String::as_str)
    }

    /// The value of a series that must be there.
    ///
    /// # Panics
    ///
    /// If it is not there.
    #[must_use]
    #[track_caller]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let found = self.find(name, labels).and_then(|value| value.parse().ok());
        found.unwrap_or_else(|| panic!("no number {name} {labels:?} in\n{}", self.text))
    }

    /// The value of a series that must be there and counts something.
    ///
    /// # Panics
    ///
    /// If it is not there, or no whole number.
    #[must_use]
    #[track_caller]
    pub fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let found = self.find(name, labels).and_then(|value| value.parse().ok());
        found.unwrap_or_else(|| panic!("no count {name} {labels:?} in\n{}", self.text))
    }

    /// Every series of a metric, those of a histogram included.
    pub fn series_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let parts = ["", "_bucket", "_sum", "_count"];
        let is_of = move |series: &str| {
            let own = series.split('{').next().unwrap_or_default();
            parts.iter().any(|part| own.strip_prefix(name) == Some(part))
        };
        self.series.keys().map(String::as_str).filter(move |series| is_of(series))
    }

    /// How many series there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// The text, with the lines of help and type.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }
}

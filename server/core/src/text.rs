//! Writers of the two formats of the admin port: JSON, and Prometheus' text format 0.0.4.

use std::fmt::{Display, Write};

use crate::histogram::Distribution;

/// A piece of JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// `null`.
    #[must_use]
    pub fn null() -> Self {
        Self("null".to_owned())
    }

    /// A string.
    #[must_use]
    pub fn text(value: &str) -> Self {
        let mut out = String::with_capacity(value.len() + 2);
        out.push('"');
        for character in value.chars() {
            match character {
                '"' | '\\' => out.extend(['\\', character]),
                ' '.. => out.push(character),
                _ => append(&mut out, format_args!("\\u{:04x}", u32::from(character))),
            }
        }
        out.push('"');
        Self(out)
    }

    /// A whole number.
    #[must_use]
    pub fn whole(value: u64) -> Self {
        Self(value.to_string())
    }

    /// `true` or `false`.
    #[must_use]
    pub fn truth(value: bool) -> Self {
        Self(value.to_string())
    }

    /// Nanoseconds as milliseconds with three decimals.
    #[must_use]
    pub fn milliseconds(ns: u64) -> Self {
        Self(format!("{}.{:03}", ns / 1_000_000, ns / 1_000 % 1_000))
    }

    /// An array.
    #[must_use]
    pub fn list(items: impl IntoIterator<Item = Self>) -> Self {
        Self(format!("[{}]", join(items.into_iter().map(|item| item.0))))
    }

    /// An object.
    #[must_use]
    pub fn object<'a>(members: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self(format!("{{{}}}", join(members.into_iter().map(|(name, value)| format!("{}:{}", Self::text(name).0, value.0)))))
    }

    /// The text, as a line.
    #[must_use]
    pub fn into_line(self) -> String {
        self.0 + "\n"
    }
}

/// Families of metrics, one after another.
#[derive(Debug, Default)]
pub struct Metrics(String);

impl Metrics {
    /// A counter or gauge with one value.
    pub fn value(&mut self, kind: &str, name: &str, help: &str, value: impl Display) {
        self.family(kind, name, help);
        self.sample(name, &[], value);
    }

    /// A counter or gauge with a value for each set of labels.
    pub fn values<'a, V: Display>(
        &mut self,
        kind: &str,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (&'a [(&'a str, &'a str)], V)>,
    ) {
        self.family(kind, name, help);
        for (labels, value) in values {
            self.sample(name, labels, value);
        }
    }

    /// A histogram of seconds with a distribution for each value of one label.
    pub fn histogram<'a>(&mut self, name: &str, help: &str, label: &str, all: impl IntoIterator<Item = (&'a str, Distribution)>) {
        self.family("histogram", name, help);
        for (value, distribution) in all {
            for (bound, count) in distribution.cumulated() {
                let bound = bound.map_or("+Inf".to_owned(), |bound| seconds(bound).to_string());
                self.sample(&format!("{name}_bucket"), &[(label, value), ("le", &bound)], count);
            }
            self.sample(&format!("{name}_sum"), &[(label, value)], seconds(distribution.sum_ns));
            self.sample(&format!("{name}_count"), &[(label, value)], distribution.count());
        }
    }

    /// The text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    fn family(&mut self, kind: &str, name: &str, help: &str) {
        append(&mut self.0, format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (number, (label, value)) in labels.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            append(&mut self.0, format_args!("{}{label}=\"{value}\"", if number == 0 { '{' } else { ',' }));
        }
        append(&mut self.0, format_args!("{} {value}\n", if labels.is_empty() { "" } else { "}" }));
    }
}

/// Nanoseconds as seconds.
#[must_use]
#[allow(clippy::cast_precision_loss, reason = "exact for a hundred days, and nobody reads nanoseconds after that")]
pub fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

fn append(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _always = out.write_fmt(text);
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::{Json, Metrics};
    use crate::histogram::Histogram;

    #[test]
    fn text_with_quotes_controls_and_umlauts_is_valid_json() {
        let text = Json::object([("ä\"", Json::list([Json::text("a\\b\n\u{1}"), Json::null(), Json::milliseconds(1_234_567)]))]);
        assert_eq!(text.into_line(), "{\"ä\\\"\":[\"a\\\\b\\u000a\\u0001\",null,1.234]}\n");
    }

    #[test]
    fn a_metric_has_help_type_and_escaped_labels() {
        let mut metrics = Metrics::default();
        metrics.value("counter", "a_total", "How many.", 3);
        metrics.values("gauge", "b", "Which.", [(&[("name", "x\"\\\n")][..], 1)]);
        assert_eq!(
            metrics.into_text(),
            "# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n# HELP b Which.\n# TYPE b gauge\nb{name=\"x\\\"\\\\\\n\"} 1\n"
        );
    }

    #[test]
    fn a_histogram_ends_with_everything_its_sum_and_its_count() {
        let histogram = Histogram::default();
        histogram.observe(2_000_000_000);
        let mut metrics = Metrics::default();
        metrics.histogram("t_seconds", "Time.", "kind", [("def", histogram.distribution())]);
        let text = metrics.into_text();
        assert!(text.contains("t_seconds_bucket{kind=\"def\",le=\"0.000001024\"} 0\n"), "{text}");
        assert!(text.contains("t_seconds_bucket{kind=\"def\",le=\"2.147483648\"} 1\n"), "{text}");
        let end = "le=\"+Inf\"} 1\nt_seconds_sum{kind=\"def\"} 2\nt_seconds_count{kind=\"def\"} 1\n";
        assert!(text.ends_with(end), "{text}");
    }
}

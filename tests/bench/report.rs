//! What was measured: rows, printed as one table and as one line of JSON.

use std::fmt::Write as _;

use serde_json::{Value, json};

/// What a number should be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Aim {
    AtMost(f64),
    AtLeast(f64),
}

impl Aim {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn shown(self) -> String {
        match self {
            Self::AtMost(most) => format!("<= {most}"),
            Self::AtLeast(least) => format!(">= {least}"),
        }
    }
}

#[derive(Debug)]
struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    aim: Option<Aim>,
}

/// Everything measured so far.
#[derive(Debug, Default)]
pub(crate) struct Report(Vec<Row>);

impl Report {
    /// A number.
    pub(crate) fn add(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.put(name, value, unit, None);
    }

    /// A number that there is an aim for.
    pub(crate) fn judge(&mut self, name: impl Into<String>, value: f64, unit: &'static str, aim: Aim) {
        self.put(name, value, unit, Some(aim));
    }

    /// A number that there may be an aim for. It is also shown at once, so that one sees that something happens.
    pub(crate) fn put(&mut self, name: impl Into<String>, value: f64, unit: &'static str, aim: Option<Aim>) {
        let name = name.into();
        eprintln!("  {name}: {} {unit}", number(value));
        self.0.push(Row { name, value, unit, aim });
    }

    /// A number that was added before.
    pub(crate) fn value(&self, name: &str) -> f64 {
        self.0.iter().find(|row| row.name == name).map_or(f64::NAN, |row| row.value)
    }

    /// One row a line.
    pub(crate) fn table(&self) -> String {
        let width = self.0.iter().map(|row| row.name.len()).max().unwrap_or_default();
        let mut table =
            format!("{:width$}  {:>10}  {:14}  {:>10}  {}\n", "what", "value", "unit", "aim", "reached");
        for row in &self.0 {
            let aim = row.aim.map(Aim::shown).unwrap_or_default();
            let reached = row.aim.map_or("", |aim| if aim.is_reached(row.value) { "yes" } else { "NO" });
            let value = number(row.value);
            let _ =
                writeln!(table, "{:width$}  {value:>10}  {:14}  {aim:>10}  {reached}", row.name, row.unit);
        }
        table
    }

    /// The same for programs.
    pub(crate) fn json(&self) -> Value {
        let rows = self.0.iter().map(|row| {
            let reached = row.aim.map(|aim| aim.is_reached(row.value));
            json!({"name": row.name, "value": row.value, "unit": row.unit, "aim": row.aim.map(Aim::shown),
                "reached": reached})
        });
        json!({ "cores": std::thread::available_parallelism().map_or(0, usize::from), "rows": rows.collect::<Vec<_>>() })
    }
}

fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 1_000.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

//! The path of each conversion.

use std::sync::Arc;

use dataflows::graphs::attribution::PathStep;
use dataflows::model::ids::Id;
use dataflows::model::lookups::Model;

use super::{TEXT, TableRow, columns};
use crate::sinks::cells::{CellSink, Column, Text};
use crate::sinks::texts::Texts;

/// A row of `conversion_paths`: one conversion under one model.
#[derive(Clone, Debug)]
pub struct ConversionPath {
    /// The conversion.
    pub conversion: Id,
    /// The model.
    pub model: Model,
    /// Its path.
    pub steps: Arc<[PathStep]>,
}

impl ConversionPath {
    fn joined(&self, each: impl Fn(&PathStep) -> String) -> String {
        self.steps.iter().map(each).collect::<Vec<_>>().join("|")
    }
}

impl TableRow for ConversionPath {
    const TABLE: &'static str = "conversion_paths";

    fn columns() -> Vec<Column> {
        columns(&[
            ("conversion_id", TEXT),
            ("model", TEXT),
            ("path", TEXT),
            ("credit_micros", TEXT),
            ("revenue_micros", TEXT),
        ])
    }

    fn window(&self) -> u32 {
        0
    }

    fn in_order<'a>(mut rows: Vec<&'a Self>, texts: &Texts) -> Vec<&'a Self> {
        rows.sort_by_cached_key(|row| (texts.id(row.conversion, str::to_owned), row.model));
        rows
    }

    fn cells(&self, texts: &Texts, sink: &mut impl CellSink) {
        let owed = |step: &PathStep| step.owed[self.model as usize];
        texts.id(self.conversion, |text| sink.text(Text::from(text)));
        sink.text(Text::word(self.model.as_str()));
        sink.text(Text::from(&*self.joined(|step| texts.id(step.touch, str::to_owned))));
        sink.text(Text::word(&self.joined(|step| owed(step).credit_micros.to_string())));
        sink.text(Text::word(&self.joined(|step| owed(step).revenue_micros.to_string())));
    }
}

//! What can go wrong, and whether to try again.

use std::fmt;

use clickhouse::error::Error as ClientError;

use super::verify::Mismatch;

/// Whose fault it is, and so what helps.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    /// The server or the way to it: the same request may succeed later.
    Retry,
    /// The tables are not those of this schema.
    Schema,
    /// The request is larger than the server takes: smaller ones may succeed.
    TooBig,
    /// User, password or rights.
    Auth,
    /// Anything else; tried a few times, as a server that stops says odd things.
    Other,
}

/// Why ClickHouse did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClickHouseError {
    /// A table is not what it should be.
    #[error(transparent)]
    Mismatch(#[from] Mismatch),
    /// The client can't be set up.
    #[error("can't set up the connection to ClickHouse at {url}: {reason}")]
    Setup {
        /// Where to.
        url: String,
        /// What is missing.
        reason: String,
    },
    /// The environment lacks the password.
    #[error("environment variable {0}, which clickhouse.password names, is not set; set it")]
    NoPassword(String),
    /// A request failed.
    #[error("ClickHouse can't {doing}: {reason}{}", hint(.fault))]
    Request {
        /// What helps.
        fault: Fault,
        /// What was asked for, such as `insert into reach_day`.
        doing: String,
        /// What was answered, cut short.
        reason: String,
    },
    /// A table of a new generation does not hold what was written to it.
    #[error(
        "{table} of the new generation holds {found} rows, but {written} were written; nothing was exchanged. \
         A TTL of your own on {table} removes rows; without one, please report this"
    )]
    Miscounted {
        /// The table.
        table: &'static str,
        /// Rows written.
        written: u64,
        /// Rows found.
        found: u64,
    },
    /// A generation that was to be published can't be.
    #[error(
        "generation {number} can't be published: {what}; delete its rows from the table generation, then run \
         `advertisex replay --into clickhouse` again"
    )]
    NoGeneration {
        /// Its number.
        number: u64,
        /// What is wrong.
        what: String,
    },
    /// The caller asked to stop; what was not yet published still has to be.
    #[error("stopped before everything was published; the next run publishes it")]
    Stopped,
}

fn hint(fault: &Fault) -> &'static str {
    match fault {
        Fault::Retry | Fault::Other => "",
        Fault::Schema => "; compare the tables with what `advertisex schema` prints",
        Fault::TooBig => {
            "; lower clickhouse.insert_rows_max or insert_bytes_max, or raise the server's limit"
        }
        Fault::Auth => "; check clickhouse.user, clickhouse.password and the user's rights on the database",
    }
}

/// How much of a server's answer is repeated.
const REASON_CHARS_MAX: usize = 500;

impl ClickHouseError {
    /// Wraps what the client said while `doing` something.
    pub(super) fn request(doing: impl fmt::Display, error: &ClientError) -> Self {
        Self::Request { fault: fault_of(error), doing: doing.to_string(), reason: reason(error) }
    }

    /// An attempt that took too long.
    pub(super) fn timeout(doing: impl fmt::Display) -> Self {
        Self::Request {
            fault: Fault::Retry,
            doing: doing.to_string(),
            reason: "no answer in time".to_owned(),
        }
    }

    /// Whose fault it is.
    pub fn fault(&self) -> Fault {
        match self {
            Self::Mismatch(_) => Fault::Schema,
            Self::NoPassword(_) => Fault::Auth,
            Self::Request { fault, .. } => *fault,
            // To count or look again finds the same.
            Self::Miscounted { .. } | Self::NoGeneration { .. } => Fault::Schema,
            Self::Setup { .. } | Self::Stopped => Fault::Other,
        }
    }
}

/// The error with its causes on one line; the client keeps hosts and reasons in them.
fn reason(error: &ClientError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        cause = error.source();
    }
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(REASON_CHARS_MAX) {
        Some((cut, _)) => format!("{}…", &line[..cut]),
        None => line,
    }
}

fn fault_of(error: &ClientError) -> Fault {
    match error {
        ClientError::Network(_) | ClientError::TimedOut => Fault::Retry,
        ClientError::SchemaMismatch(_)
        | ClientError::NotEnoughData
        | ClientError::InvalidColumnsHeader(_)
        | ClientError::InvalidUtf8Encoding(_) => Fault::Schema,
        ClientError::BadResponse(text) => fault_of_answer(text),
        _ => Fault::Other,
    }
}

/// The fault of an answer: `Code: 241. DB::Exception: …` from ClickHouse itself, or the words of
/// a proxy that stands before it.
pub(super) fn fault_of_answer(text: &str) -> Fault {
    match number_after(text, "Code: ") {
        Some(code) => fault_of_code(code),
        None => http_status(text).map_or(Fault::Other, fault_of_status),
    }
}

fn number_after(text: &str, label: &str) -> Option<u32> {
    let rest = &text[text.find(label)? + label.len()..];
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    rest[..digits].parse().ok()
}

/// The first number that may be an HTTP error status.
fn http_status(text: &str) -> Option<u32> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    words.filter(|word| word.len() == 3).filter_map(|word| word.parse().ok()).find(|n| (400..600).contains(n))
}

fn fault_of_status(status: u32) -> Fault {
    match status {
        401 | 403 | 407 => Fault::Auth,
        413 => Fault::TooBig,
        408 | 425 | 429 | 500.. => Fault::Retry,
        _ => Fault::Other,
    }
}

/// ClickHouse's error codes (`ErrorCodes.cpp`, which never renumbers them).
fn fault_of_code(code: u32) -> Fault {
    match code {
        // No such column, table or database; types or columns that don't fit.
        8 | 10 | 16 | 20 | 36 | 47 | 53 | 60 | 81 | 117 | 122 => Fault::Schema,
        // Too large a query, string, array, or too many rows or bytes.
        128 | 131 | 158 | 229 | 307 => Fault::TooBig,
        // Read-only user, unknown user, wrong or missing password, address or right denied.
        164 | 192..=195 | 291 | 497 | 516 => Fault::Auth,
        // Connections that broke off in the middle.
        32 | 33 | 209 | 210 | 279 => Fault::Retry,
        // Too slow, too many queries, no connection free, cancelled, aborted, overloaded.
        159 | 160 | 201..=203 | 236 | 394 | 473 | 745 => Fault::Retry,
        // Memory, disk, files, too many parts: the server may recover.
        74..=76 | 241 | 243 | 252 | 425 | 499 => Fault::Retry,
        // Replication: no keeper, read-only replica, too few replicas, unknown outcome.
        225 | 242 | 285 | 319 | 999 | 1000 | 1002 => Fault::Retry,
        _ => Fault::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        for (answer, fault) in [
            ("Code: 241. DB::Exception: (total) memory limit exceeded", Fault::Retry),
            ("Code: 252. DB::Exception: Too many parts (300)", Fault::Retry),
            ("Code: 60. DB::Exception: Table ax.reach_day does not exist", Fault::Schema),
            ("Code: 516. DB::Exception: ax: Authentication failed", Fault::Auth),
            ("Code: 307. DB::Exception: Limit for rows or bytes to read exceeded", Fault::TooBig),
            ("Code: 49. DB::Exception: Logical error", Fault::Other),
            ("<html><title>502 Bad Gateway</title></html>", Fault::Retry),
            ("503 Service Unavailable", Fault::Retry),
            ("<html><title>413 Request Entity Too Large</title>", Fault::TooBig),
            ("401 Unauthorized", Fault::Auth),
            ("404 Not Found", Fault::Other),
            ("it works!", Fault::Other),
        ] {
            assert_eq!(fault_of_answer(answer), fault, "{answer}");
        }
    }

    #[test]
    fn a_reason_is_one_line_of_bounded_length() {
        let error = ClientError::BadResponse(format!("Code: 60. a\n\n{}", "b".repeat(2_000)));
        let error = ClickHouseError::request("insert", &error).to_string();
        assert!(!error.contains('\n') && error.len() < 700, "{error}");
        assert!(error.ends_with("compare the tables with what `advertisex schema` prints"), "{error}");
    }
}

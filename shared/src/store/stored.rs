//! Stored values read back: the same checks for every database.

use std::{str::FromStr, time::Instant};

use sqlx::{ColumnIndex, Database, Decode, Encode, Executor, IntoArguments, Row as _, Type};

use super::{Difference, Pace, Pauses, StoreError};
use crate::{domain::organization::Role, envelope::Hash};

/// The read models, or their shadows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tables {
    Live,
    Shadow,
}

impl Tables {
    /// The text of a statement that has `{}` before the name of each table.
    pub(super) fn name(self, text: &str) -> String {
        match self {
            Self::Live => text.replace("{}", ""),
            Self::Shadow => text.replace("{}", "shadow_"),
        }
    }
}

/// A read model and its columns after the id: what a rebuild compares and swaps.
pub(super) const PROJECTIONS: [(&str, &[&str]); 8] = [
    ("gateways", &["organization_id", "created_at", "document"]),
    ("operations", &["organization_id", "gateway_id", "status", "created_at", "document"]),
    ("agents", &["organization_id", "gateway_id", "created_at", "document"]),
    ("organizations", &["name", "created_at"]),
    ("members", &["organization_id", "name", "role"]),
    ("tokens", &["organization_id", "document"]),
    ("queue_pauses", &["since", "paused_by", "reason"]),
    ("worker_drains", &["since", "drained_by", "reason"]),
];

/// A query for how a part of a read model differs from its shadow: the rows, `$2` at the most, after the id `$1`.
///
/// One row: the last id of the part, null where there is no row any more; how many rows the read model has in it; and how
/// many of them, or of its shadow's, are not the same in both. Rows meet by their id; `differs` is how the database asks
/// whether two lists of columns are not the same.
fn comparison(table: &str, columns: &[&str], differs: &str) -> String {
    let of = |side: &str| {
        let columns: Vec<String> = columns.iter().map(|column| format!("{side}.{column}")).collect();
        columns.join(", ")
    };
    let (live, shadow) = (of("l"), of("s"));
    let last = |table: &str| {
        format!("(select max(id) from (select id from {table} where id > $1 order by id limit $2) as page)")
    };
    let (end, in_part) = (last(table), "id > $1 and {}.id <= (select id from part)");
    let of_live = format!("l.{}", in_part.replace("{}", "l"));
    let of_shadow = format!("s.{}", in_part.replace("{}", "s"));
    let of_shadow_alone = last(&format!("shadow_{table}"));
    format!(
        "with part as (select coalesce({end}, {of_shadow_alone}) as id) \
         select (select id from part), \
             (select count(*) from {table} l where {of_live}), \
             (select count(*) from {table} l left join shadow_{table} s on s.id = l.id \
                 where {of_live} and (s.id is null or ({live}) {differs} ({shadow}))) + \
             (select count(*) from shadow_{table} s left join {table} l on l.id = s.id \
                 where {of_shadow} and l.id is null)"
    )
}

/// How the read models differ from their shadows, part by part.
///
/// `differs` is how the database asks whether two lists of columns are not the same.
pub(super) async fn compare<DB: Database>(
    connection: &mut DB::Connection,
    pace: Pace,
    differs: &str,
) -> Result<Vec<Difference>, StoreError>
where
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    for<'v> String: Encode<'v, DB> + Decode<'v, DB> + Type<DB>,
    for<'v> i64: Encode<'v, DB> + Decode<'v, DB> + Type<DB>,
    for<'v> Option<String>: Decode<'v, DB> + Type<DB>,
    usize: ColumnIndex<DB::Row>,
{
    let (mut differences, mut pauses) = (vec![], Pauses::new(pace));
    for (projection, columns) in PROJECTIONS {
        let text = comparison(projection, columns, differs);
        let mut difference = Difference { projection, rows: 0, differing: 0 };
        let mut after = Some(String::new());
        while let Some(id) = after {
            let began = Instant::now();
            let part =
                sqlx::query(sqlx::AssertSqlSafe(text.clone())).bind(id).bind(i64::from(pace.compared()));
            let part =
                part.fetch_one(&mut *connection).await.map_err(StoreError::doing("compare a shadow"))?;
            difference.rows += unsigned(part.get(1));
            difference.differing += unsigned(part.get(2));
            after = part.get(0);
            pauses.after(began.elapsed()).await;
        }
        differences.push(difference);
    }
    Ok(differences)
}

/// The read models, with their columns, of which something differs.
pub(super) fn differing(differences: &[Difference]) -> Vec<(&'static str, &'static [&'static str])> {
    let differs = |table: &str| {
        differences.iter().any(|difference| difference.projection == table && difference.differing > 0)
    };
    PROJECTIONS.into_iter().filter(|(table, _)| differs(table)).collect()
}

/// A position, version or count as a database stores it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A position, version or count as it was stored.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// A small number as it was stored: an attempt, a count of lost leases.
pub(super) fn small(number: i64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// Parses a stored value.
pub(super) fn parse<T: FromStr>(what: &'static str, value: String) -> Result<T, StoreError> {
    value.parse().map_err(|_| StoreError::Unreadable { what, value })
}

/// Parses a stored JSON document.
pub(super) fn parse_json<T: serde::de::DeserializeOwned>(
    what: &'static str,
    value: String,
) -> Result<T, StoreError> {
    serde_json::from_str(&value).map_err(|_| StoreError::Unreadable { what, value })
}

/// A stored role.
pub(super) fn parse_role(value: &str) -> Result<Role, StoreError> {
    parse_json("role", format!("\"{value}\""))
}

/// A stored hash.
pub(super) fn parse_hash(bytes: &[u8]) -> Result<Hash, StoreError> {
    let hash = bytes.try_into().map(Hash);
    hash.map_err(|_| StoreError::Unreadable { what: "hash", value: hex::encode(bytes) })
}

//! What everything is compared with: all columns of all events, in order, by the same driver, in one query.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _, sqlite::SqliteConnectOptions};

const TEXT: &str = "select position, event_id, stream_id, stream_version, event_type, schema_version, \
                    organization_id, data, metadata, recorded_at, hash from events order by position";

/// The same for each driver: their types have nothing in common.
macro_rules! scan_rows {
    ($connection:ident) => {{
        let mut bytes = 0;
        let mut rows = sqlx::query(TEXT).fetch(&mut $connection);
        while let Some(row) = rows.try_next().await.expect("every row can be read") {
            let numbers: [i64; 4] = [row.get(0), row.get(3), row.get(5), row.get(9)];
            let texts: [&str; 5] = [row.get(1), row.get(2), row.get(4), row.get(7), row.get(8)];
            let organization: Option<&str> = row.get(6);
            let hash: &[u8] = row.get(10);
            bytes += numbers.len() + texts.iter().map(|text| text.len()).sum::<usize>() + hash.len();
            bytes += organization.unwrap_or_default().len();
        }
        drop(rows);
        let _ = $connection.close().await;
        bytes
    }};
}

/// Reads every event of a database, or of a file if there is none, and looks at every column; how long that took.
pub(crate) async fn scan(file: &Path, database: Option<&str>) -> Duration {
    let started;
    let bytes = if let Some(url) = database {
        let mut connection = PgConnection::connect(url).await.expect("the database is there");
        started = Instant::now();
        scan_rows!(connection)
    } else {
        let options = SqliteConnectOptions::new().filename(file).read_only(true);
        let mut connection = options.connect().await.expect("the file is there");
        started = Instant::now();
        scan_rows!(connection)
    };
    let time = started.elapsed();
    assert!(bytes > 0, "there are events");
    time
}

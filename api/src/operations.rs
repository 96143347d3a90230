//! `/api/v1/operations`: one endpoint, one file.

pub mod get;

//! `/api/v1/agents`: one endpoint, one file.

pub mod get;

//! What the benchmarks share: how long to run, HTTP without ceremony, figures and tables.

pub mod figures;
pub mod replicas;
pub mod run;
pub mod table;
pub mod tenants;
pub mod wire;

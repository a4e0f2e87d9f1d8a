//! The instruments that judge the service under faults, each by itself: what is broken on purpose
//! is broken, and what is wrong is seen. `scripts/faults` and `scripts/soak` put them to use.

mod causes;
mod history;
mod load;
mod proxy;

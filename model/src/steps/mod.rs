//! What can happen, by subject.

mod apply;
mod link;
mod load;
mod read;
mod round;
mod surroundings;
mod write;

//! A key replaced under load: see the harness.

use std::path::PathBuf;

use crate::harness::rotation::{self, Plan, Report};

/// Prints what happened; `true` if no read has failed.
pub async fn run(plan: &Plan, write: Option<PathBuf>) -> bool {
    let Report { versions, killed_at, reads, failed_reads, took } = rotation::run(plan).await;
    let points: Vec<String> = killed_at.iter().map(ToString::to_string).collect();
    let text = format!(
        "# A key replaced under load\n\n\
         `scripts/rotation`: two replicas on one Postgres are read from all the time (each read opens a \
         row that has not been\n\
         read for a second), while `keys rotate` replaces the key and is killed (SIGKILL) again and \
         again. Then `keys retire`\n\
         takes the old key away, and every version is opened with what is left.\n\n\
         | | |\n|---|---|\n\
         | versions of credentials | {versions} |\n\
         | `--rows-per-second` | {} |\n\
         | killed, and gone on with | {} times |\n\
         | rows that had the new key at each kill | {} |\n\
         | from the first call to the end of the last | {:.0} s |\n\
         | reads meanwhile | {reads} |\n\
         | reads that failed, or answered something else | {failed_reads} |\n\
         | versions, changes in the log and moments that have changed | 0 |\n\
         | versions that open without the old key | {versions} |\n",
        plan.rows_per_second,
        killed_at.len(),
        points.join(", "),
        took.as_secs_f64(),
    );
    println!("{text}");
    if let Some(file) = write.filter(|_| failed_reads == 0) {
        std::fs::write(file, text).expect("the file can be written to");
    }
    failed_reads == 0
}

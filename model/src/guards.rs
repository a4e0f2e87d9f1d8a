//! What the protocol insists on, each to be taken out by itself.

/// All on: the protocol. One off: something that it forbids, or leaves out what it asks for.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own")]
pub struct Guards {
    /// A read answers by the deadline that it loaded before it looked (off: by the present one).
    pub deadline_loaded_first: bool,
    /// A fenced read joins no load that is under way.
    pub fenced_joins_nothing: bool,
    /// A fenced read leads no load, so it fills nothing.
    pub fenced_fills_nothing: bool,
    /// L1 checks the epoch and stores in one step.
    pub store_in_one_step: bool,
    /// A load that an eviction has overtaken is not stored.
    pub overtaken_not_stored: bool,
    /// A load that an eviction has overtaken is not joined.
    pub overtaken_not_joined: bool,
    /// L1 is evicted after the L2 step (off: only before it).
    pub evict_after_revoke: bool,
    /// The L2 step is skipped only if the writer revoked on this very server.
    pub compare_servers: bool,
    /// After a failed revocation the connection goes, and then L1 and the acknowledgement follow.
    pub drop_before_acknowledging: bool,
    /// A change counts as applied once it is (off: when it is received).
    pub record_at_the_end: bool,
    /// A starting replica takes its baseline after its row is there.
    pub register_before_baseline: bool,
    /// A starting replica clears L1 after its baseline.
    pub clear_after_baseline: bool,
    /// The snapshot to replay up to is taken once there is a poll cursor.
    pub replay_after_cursor: bool,
    /// A new connection is trusted after the replay (off: at once, if there is a marker).
    pub replay_before_trust: bool,
    /// Starting over drops the connection to L2.
    pub start_over_drops_trust: bool,
    /// A value in L2 is tagged with the epoch of its lease (off: with the present one).
    pub tag_with_lease_epoch: bool,
    /// A value is stored in L2 only in place of its lease.
    pub fill_needs_lease: bool,
    /// A load notes its key's epoch before it checks trust.
    pub note_epoch_before_trust: bool,
    /// The marker moves after the poll's revocations.
    pub advance_after_revokes: bool,
    /// The marker moves only over a trusted connection.
    pub advance_with_trust: bool,
    /// The deadline counts from the renewal's start (off: from the end of the round).
    pub deadline_from_start: bool,
    /// The log is read after the renewal (off: before it).
    pub poll_after_renewal: bool,
    /// A write reads the replicas' rows after its commit.
    pub rows_after_commit: bool,
    /// A write waits for the others at all.
    pub barrier: bool,
}

impl Guards {
    /// The protocol.
    pub const ALL: Self = Self {
        deadline_loaded_first: true,
        fenced_joins_nothing: true,
        fenced_fills_nothing: true,
        store_in_one_step: true,
        overtaken_not_stored: true,
        overtaken_not_joined: true,
        evict_after_revoke: true,
        compare_servers: true,
        drop_before_acknowledging: true,
        record_at_the_end: true,
        register_before_baseline: true,
        clear_after_baseline: true,
        replay_after_cursor: true,
        replay_before_trust: true,
        start_over_drops_trust: true,
        tag_with_lease_epoch: true,
        fill_needs_lease: true,
        note_epoch_before_trust: true,
        advance_after_revokes: true,
        advance_with_trust: true,
        deadline_from_start: true,
        poll_after_renewal: true,
        rows_after_commit: true,
        barrier: true,
    };
}

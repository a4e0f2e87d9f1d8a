//! What a store promises: one suite that runs on both, and what only one of them has.

mod audit;
mod bed;
mod credentials;
mod direct;
mod expiry;
mod log;
mod migrate;
mod numbers;
mod postgres;
mod postgres_log;
mod replicas;
mod sealing;
mod sqlite;
mod tenants;
mod tokens;
mod versions;
mod wrapping;

use self::bed::Bed;

/// Makes a test of each case for each store.
macro_rules! conformance {
    ($($group:ident: $($case:ident),+;)+) => {
        mod on_postgres {
            $(mod $group { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::super::$group::$case(&super::super::Bed::postgres().await).await;
                }
            )+ })+
        }

        mod on_sqlite {
            $(mod $group { $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    super::super::$group::$case(&super::super::Bed::sqlite().await).await;
                }
            )+ })+
        }
    };
}

conformance! {
    tenants:
        a_tenant_is_found_by_each_of_its_names,
        absence_is_no_error,
        a_tenant_is_created_with_its_credentials,
        a_duplicate_names_its_field_and_changes_nothing,
        a_patch_merges,
        settings_that_grow_too_large_change_nothing,
        settings_that_grow_at_once_are_bounded_as_well,
        a_patch_that_changes_nothing_logs_nothing,
        a_suspended_tenant_does_not_resolve,
        a_phone_that_moves_names_both_tenants,
        a_deleted_tenant_takes_everything_with_it,
        a_list_is_ordered_and_paged;
    credentials:
        versions_follow_one_another,
        a_link_changes_the_tenant_in_the_same_transaction,
        a_link_that_another_has_changes_nothing,
        concurrent_writes_all_succeed,
        the_counter_goes_on_after_a_revocation;
    versions:
        a_condition_is_about_what_is_there,
        one_of_many_writes_with_a_tag_is_made,
        what_is_made_anew_has_no_old_tag,
        a_rollback_makes_a_new_version,
        what_was_deleted_can_be_brought_back,
        of_what_is_destroyed_nothing_is_left,
        what_was_deleted_long_ago_is_destroyed,
        versions_are_listed_in_pages,
        what_was_deleted_before_is_known_as_deleted;
    audit:
        a_write_and_its_entry_are_one,
        a_trail_that_cannot_be_written_stops_writes,
        rows_are_only_added,
        each_kind_of_tampering_is_found,
        a_broken_chain_is_not_gone_on_with,
        an_end_that_was_moved_is_not_gone_on_from,
        the_end_of_another_history_is_found,
        another_key_of_the_service_is_not_the_chain_s,
        what_is_pruned_leaves_a_signed_beginning,
        pages_are_filtered_and_go_on,
        concurrent_writers_leave_one_chain,
        a_row_that_cannot_be_read_does_not_stop_the_chain;
    expiry:
        an_end_is_that_of_its_version,
        an_end_lies_ahead,
        each_number_of_days_is_told_once,
        of_a_suspended_tenant_nothing_is_told,
        whoever_tells_it_is_told_once,
        those_that_end_are_counted;
    direct:
        a_write_by_hand_is_logged,
        a_credential_that_moves_names_both_tenants,
        a_kind_of_a_newer_version_evicts_its_keys,
        a_row_that_cannot_be_read_is_an_error_of_its_own,
        a_number_that_would_be_rounded_is_not_revealed,
        what_the_service_would_refuse_the_schema_refuses;
    log:
        the_log_holds_each_change_once,
        a_long_log_is_read_in_pages,
        pruning_leaves_a_horizon,
        rows_deleted_by_hand_move_the_horizon;
    numbers:
        a_number_keeps_its_digits;
    replicas:
        a_replica_comes_renews_and_goes,
        only_a_row_that_stands_still_is_buried;
    sealing:
        what_is_moved_does_not_open,
        a_tenant_made_anew_is_another_one,
        each_way_to_refuse_has_its_reason,
        no_table_holds_a_secret,
        plaintext_of_before_is_sealed,
        replicas_may_seal_at_once;
    wrapping:
        a_pass_changes_nothing_but_the_keys,
        rows_that_are_done_are_passed_over,
        what_does_not_open_is_refused_and_stays,
        a_pepper_that_does_not_open_is_left_as_it_is,
        a_retired_key_is_refused_whoever_writes,
        one_rotation_at_a_time;
    tokens:
        a_token_is_stored_as_a_hash,
        the_first_tokens_may_come_at_once,
        a_revoked_token_stays_so,
        a_replaced_token_ends_with_the_overlap,
        a_list_of_tokens_is_of_those_within_the_limits,
        a_use_is_noted_and_logged_nowhere,
        an_edit_of_a_token_by_hand_is_logged,
        what_is_unknown_grants_nothing,
        a_pepper_that_does_not_open_is_refused,
        a_list_of_tenants_is_of_those_within_the_limits;
    migrate:
        migrating_again_changes_nothing,
        replicas_may_migrate_at_once,
        every_table_is_known_to_be_ours,
        tables_of_another_program_are_refused_and_untouched,
        migrations_of_another_program_are_refused_and_untouched,
        a_newer_schema_is_refused,
        an_altered_schema_is_refused;
}

//! The catalog's contract, over every implementation, and what is special to each.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says what it saw"
)]

mod access;
mod changes;
mod contract;
mod leases;
mod members;
mod migrations;
mod postgres;
mod site;

/// Makes each test one over SQLite and one over Postgres. A test gets a [`site::Site`] with an empty catalog.
macro_rules! over_both {
    ($($module:ident :: $test:ident,)*) => {
        mod over_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$module::$test(super::site::Site::sqlite()).await;
            })*
        }
        mod over_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $test() {
                super::$module::$test(super::site::Site::postgres()).await;
            })*
        }
    };
}

over_both! {
    access::tenants_keys_and_the_audit_log_are_kept,
    access::a_second_process_makes_a_key_beside_a_busy_one,
    contract::the_contract_holds_and_is_kept_across_a_restart,
    contract::of_two_flushes_from_one_watermark_one_commits,
    contract::partitions_have_their_own_watermarks,
    contract::any_name_and_number_comes_back,
    changes::followers_get_what_changed,
    changes::a_follower_that_was_away_too_long_gets_all,
    changes::followers_and_writers_at_once_agree,
    changes::pending_deletes_are_told_when_they_change,
    changes::objects_are_kept_until_they_are_forgotten,
    leases::a_lease_has_one_holder,
    leases::a_released_lease_is_free_and_its_epoch_grows,
    leases::of_many_that_want_a_lease_one_gets_it,
    leases::a_fenced_flush_changes_nothing,
    leases::an_expired_lease_commits_until_it_is_taken_over,
    members::members_are_there_until_they_leave_or_expire,
    members::the_last_run_of_a_job_is_kept,
    migrations::migrations_go_up_and_down,
    migrations::a_database_of_a_newer_version_is_refused,
    migrations::a_migration_that_was_edited_is_refused,
    migrations::data_of_the_version_before_are_kept,
}

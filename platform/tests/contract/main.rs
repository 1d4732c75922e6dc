//! The contract of `Io`, checked on every back end that talks to the system.
//!
//! Each case is a script: a shard on one side, plain blocking sockets on the
//! other. A back end that this machine refuses is skipped with the reason.

mod bench;
#[path = "../support/client.rs"]
mod client;
#[cfg(target_os = "linux")]
mod descriptors;
mod life;
mod receive;
mod send;
#[cfg(target_os = "linux")]
mod shared_client;
#[cfg(target_os = "linux")]
mod sharing;
#[cfg(target_os = "linux")]
mod sharing_faults;

/// Instantiates every case for the back end that `$make` makes, an expression of
/// type `Result<impl Io, impl Display>`.
macro_rules! contract {
    ($back_end:ident, $make:expr) => {
        mod $back_end {
            #[allow(unused_imports, reason = "not every back end needs each")]
            use netcluster_platform::*;

            contract!(@case $make, life: [
                clients_are_accepted_with_their_credentials,
                another_listener_takes_the_first_ones_place,
                a_dead_client_ends_its_stream,
                closing_with_operations_under_way_ends_in_one_closed,
                wake_ups_from_other_threads_are_reported,
                many_wake_ups_are_one_report,
                a_connection_moves_to_another_shard,
                a_released_connection_keeps_what_it_has_not_received,
                a_connection_that_cannot_move_is_refused_elsewhere,
                two_hundred_clients_connect_at_once,
                one_wait_accepts_no_more_than_its_share,
                who_connected_is_read_from_no_slower_than_others_connect,
                clients_that_come_and_go_leave_nothing_behind,
                stopping_to_accept_refuses_clients,
                waiting_ends_when_its_time_is_up,
            ]);
            contract!(@case $make, receive: [
                bytes_come_back_as_sent,
                data_before_the_end_of_a_stream_is_delivered,
                the_end_of_a_stream_is_never_missed,
                stopping_delivers_what_came_before,
                receiving_can_be_stopped_and_started_again,
                a_large_frame_is_read_into_its_own_buffer,
                a_large_frame_that_breaks_off_ends_the_stream,
                starved_connections_recover_when_buffers_return,
                a_buffer_dropped_elsewhere_ends_starvation,
                a_starved_connection_can_be_stopped_and_closed,
                small_reads_do_not_lose_bytes,
            ]);
            #[cfg(target_os = "linux")]
            contract!(@case $make, life: [
                a_client_that_may_write_no_more_is_read_to_the_end,
                sending_ends_behind_what_was_sent_and_receiving_goes_on,
            ]);
            contract!(@case $make, send: [
                gathered_sends_arrive_whole_and_in_order,
                a_full_socket_blocks_and_becomes_writable,
                an_empty_send_completes,
                sending_to_a_client_that_left_fails,
                slices_are_released_once_sent,
                what_was_sent_before_closing_can_still_be_read,
                the_tail_of_a_queue_reaches_a_client_that_reads_late,
            ]);
        }
    };
    (@sharing $back_end:ident, $make:expr) => {
        mod $back_end {
            use netcluster_platform::*;

            contract!(@case $make, sharing: [
                rings_bring_what_was_put,
                each_wait_brings_one_chunk_of_a_ring,
                what_is_put_back_comes_again_in_one_piece,
                the_front_of_a_frame_waits_for_its_rest,
                a_stopped_ring_brings_nothing_until_it_is_received,
                descriptors_and_the_socket_are_one_stream,
                what_is_not_released_stays,
                a_client_that_releases_nothing_is_bounded,
                bytes_beside_the_ring_end_the_connection,
                closing_revokes_and_lets_go,
            ]);
            contract!(@case $make, sharing_faults: [
                a_hostile_client_harms_only_itself,
                a_bell_that_is_as_loud_as_can_be_stops_nobody,
                a_client_that_is_gone_pins_nothing,
                a_thousand_connections_leave_nothing_behind,
                starved_rings_recover_when_buffers_return,
            ]);
        }
    };
    (@case $make:expr, $module:ident: [$($case:ident),* $(,)?]) => {
        $(
            #[test]
            fn $case() {
                match $make {
                    Ok(io) => crate::$module::$case(
                        crate::bench::Bench::new(io),
                        || $make.ok().expect("it worked before"),
                    ),
                    Err(reason) => println!("SKIPPED: {reason}"),
                }
            }
        )*
    };
}

#[cfg(target_os = "linux")]
contract!(uring, UringIo::new(UringConfig { buffers: 8, ..UringConfig::default() }));

#[cfg(target_os = "linux")]
contract!(
    uring_incremental,
    UringIo::new(UringConfig { buffers: 8, incremental: true, ..UringConfig::default() })
);

// With queues so small that they overflow.
#[cfg(target_os = "linux")]
contract!(
    uring_cramped,
    UringIo::new(UringConfig {
        buffers: 8,
        entries: 4,
        completion_entries: 8,
        ..UringConfig::default()
    })
);

contract!(poll, PollIo::new(PollConfig { buffers: 8, ..PollConfig::default() }));

// Whatever the contract says holds beside shared memory, too.
#[cfg(target_os = "linux")]
contract!(
    uring_arena,
    UringIo::new(UringConfig { buffers: 8, arena: crate::section(), ..Default::default() })
);

#[cfg(target_os = "linux")]
contract!(
    poll_arena,
    PollIo::new(PollConfig { buffers: 8, arena: crate::section(), ..Default::default() })
);

#[cfg(target_os = "linux")]
contract!(
    @sharing uring_sharing,
    UringIo::new(UringConfig { buffers: 8, arena: crate::section(), ..Default::default() })
);

#[cfg(target_os = "linux")]
contract!(
    @sharing uring_sharing_cramped,
    UringIo::new(UringConfig {
        buffers: 8,
        entries: 4,
        completion_entries: 8,
        arena: crate::section(),
        ..Default::default()
    })
);

#[cfg(target_os = "linux")]
contract!(
    @sharing poll_sharing,
    PollIo::new(PollConfig { buffers: 8, arena: crate::section(), ..Default::default() })
);

/// The arena of a broker with one shard.
#[cfg(target_os = "linux")]
fn section() -> Option<netcluster_platform::ArenaSection> {
    Some(netcluster_platform::BrokerArena::new(1).unwrap().section(0))
}

#[test]
#[ignore = "what a child does that a test above starts and kills"]
fn a_child_sleeps() {
    std::thread::sleep(client::PATIENCE);
}

#[cfg(target_os = "linux")]
#[test]
fn accepting_pauses_without_descriptors_and_resumes() {
    descriptors::in_a_child_with_few_descriptors("accepting_pauses_in_a_child_uring");
}

#[cfg(target_os = "linux")]
#[test]
#[ignore = "lowers the process's descriptor limit: run in a child by the test above"]
fn accepting_pauses_in_a_child_uring() {
    use netcluster_platform::{UringConfig, UringIo};

    match UringIo::new(UringConfig::default()) {
        Ok(io) => descriptors::accepting_pauses(bench::Bench::new(io)),
        Err(reason) => println!("SKIPPED: {reason}"),
    }
}

//! The contract of `DatagramIo`, checked on every back end over real sockets.
//!
//! Each case is a script in which brokers on this machine, each a back end of its
//! own, send to each other. What needs more than the loopback interface makes its
//! own network namespace, or is skipped with the reason: elsewhere than on Linux
//! there are none.
#![cfg(any(target_os = "linux", windows))]

mod bench;
mod groups;
#[cfg(target_os = "linux")]
mod interface;
mod opening;
mod receiving;
mod sending;
#[cfg_attr(windows, path = "no_space.rs")]
mod space;

/// Instantiates every case for the back end that `$make` makes, an expression of
/// type `Result<impl Io, impl Display>`.
macro_rules! contract {
    ($back_end:ident, $make:expr) => {
        mod $back_end {
            use netcluster_platform::*;

            contract!(@case $make, groups: [
                brokers_of_one_machine_hear_each_others_multicast,
                the_original_group_works_as_given,
                a_left_group_is_silent,
                more_groups_than_a_socket_holds_can_be_joined,
                a_group_of_another_family_is_refused,
                ipv6_groups_work,
            ]);
            contract!(@case $make, opening: [
                unicast_reaches_the_right_one_of_two_brokers,
                the_first_broker_also_hears_unicast_on_the_group_port,
                a_closed_link_leaves_its_ports_and_can_be_opened_again,
            ]);
            contract!(@case $make, sending: [
                trains_arrive_with_their_bytes_in_order,
                more_than_one_train_is_sent_at_once,
                datagrams_above_the_mtu_are_refused_and_counted,
                a_full_socket_blocks_and_becomes_writable,
                a_closed_port_elsewhere_disturbs_nothing,
                own_datagrams_are_looped_back_only_when_asked,
            ]);
            contract!(@case $make, receiving: [
                pinned_buffers_starve_and_returned_ones_go_on,
                a_buffer_dropped_elsewhere_ends_starvation,
                drops_of_the_kernel_are_counted,
                datagrams_come_while_connections_come_and_go,
                waits_shorter_than_a_millisecond_are_kept,
            ]);
            #[cfg(target_os = "linux")]
            mod interface {
                use netcluster_platform::*;

                contract!(@case $make, interface: [
                    unicast_is_taken_from_wherever_it_comes,
                    the_original_group_crosses_a_wire,
                    an_interface_that_comes_back_is_joined_anew,
                    a_better_interface_is_taken_when_it_comes,
                    the_group_port_is_followed_to_another_address,
                ]);
            }
        }
    };
    (@case $make:expr, $module:ident: [$($case:ident),* $(,)?]) => {
        $(
            #[test]
            fn $case() {
                match $make {
                    Ok(_) => crate::$module::$case(|| $make.ok().expect("it worked before")),
                    Err(reason) => println!("SKIPPED: {reason}"),
                }
            }
        )*
    };
}

#[cfg(target_os = "linux")]
contract!(uring, UringIo::new(UringConfig { buffers: 8, ..UringConfig::default() }));

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

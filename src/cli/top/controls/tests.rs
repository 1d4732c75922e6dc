//! Keys, and what they choose.

use super::*;

fn controls() -> Controls {
    Controls::new(View::Clients, Duration::from_secs(1), String::new())
}

fn press(controls: &mut Controls, code: KeyCode) -> Act {
    controls.key(KeyEvent::new(code, KeyModifiers::NONE), &Samples::default())
}

fn type_in(controls: &mut Controls, text: &str) {
    for c in text.chars() {
        press(controls, KeyCode::Char(c));
    }
}

#[test]
fn what_is_asked_for_follows_view_order_and_filter() {
    let mut controls = controls();
    assert_eq!(controls.wanted(), Wanted { view: View::Clients, by: By::EventsOut, limit: 200 });
    press(&mut controls, KeyCode::Right);
    assert_eq!(controls.wanted().by, By::QueuedBytes);
    press(&mut controls, KeyCode::Char('<'));
    press(&mut controls, KeyCode::Left);
    assert_eq!(controls.wanted().by, By::EventsIn);
    press(&mut controls, KeyCode::Left);
    assert_eq!(controls.wanted().by, By::Client, "the broker knows no order by process");
    press(&mut controls, KeyCode::Char('2'));
    assert_eq!(controls.wanted().by, By::QueuedBytes, "whatever the order of slow ones");
    type_in(&mut controls, "/q");
    assert_eq!((controls.wanted().limit, &*controls.filter), (1000, "q"));
    press(&mut controls, KeyCode::Tab);
    press(&mut controls, KeyCode::Enter);
    press(&mut controls, KeyCode::Tab);
    assert_eq!(controls.view, View::Channels, "while a filter is typed, Tab does nothing");
    press(&mut controls, KeyCode::Esc);
    press(&mut controls, KeyCode::BackTab);
    press(&mut controls, KeyCode::BackTab);
    press(&mut controls, KeyCode::BackTab);
    assert_eq!((controls.view, controls.wanted().limit), (View::Shards, 200));
}

#[test]
fn each_view_keeps_its_order_and_a_column_can_be_named() {
    let mut controls = controls();
    controls.sort_by("Lost").unwrap();
    assert!(!controls.sort().is_ascending);
    press(&mut controls, KeyCode::Char('r'));
    press(&mut controls, KeyCode::Char('3'));
    controls.sort_by("in").unwrap();
    press(&mut controls, KeyCode::Char('1'));
    assert_eq!(controls.wanted().by, By::Dropped);
    assert!(controls.sort().is_ascending);
    let error = controls.sort_by("beauty").unwrap_err();
    assert!(error.contains("clients has the columns client, name, channel"), "{error}");
}

#[test]
fn a_filter_is_typed_until_enter_or_esc() {
    let mut controls = controls();
    type_in(&mut controls, "/q1?");
    press(&mut controls, KeyCode::Backspace);
    assert_eq!((&*controls.filter, controls.is_typing, controls.is_help), ("q1", true, false));
    press(&mut controls, KeyCode::Enter);
    assert_eq!((&*controls.filter, controls.is_typing), ("q1", false));
    type_in(&mut controls, "/");
    type_in(&mut controls, &"x".repeat(1000));
    assert_eq!(controls.filter.len(), MAX_FILTER_CHARS);
    press(&mut controls, KeyCode::Esc);
    assert_eq!((&*controls.filter, controls.is_typing), ("", false));
}

#[test]
fn intervals_go_up_and_down_between_their_ends() {
    let mut controls = controls();
    press(&mut controls, KeyCode::Char('+'));
    assert_eq!(controls.interval, Duration::from_secs(2));
    controls.interval = Duration::from_secs(3);
    press(&mut controls, KeyCode::Char('-'));
    assert_eq!(controls.interval, Duration::from_secs(2));
    type_in(&mut controls, "-----------------");
    assert_eq!(controls.interval, Duration::from_millis(100));
    type_in(&mut controls, "+++++++++++++++++");
    assert_eq!(controls.interval, Duration::from_secs(60));
}

#[test]
fn q_and_ctrl_c_end_and_a_lone_esc_does_not() {
    let mut controls = controls();
    assert_eq!(press(&mut controls, KeyCode::Esc), Act::Nothing);
    assert_eq!(press(&mut controls, KeyCode::Char('q')), Act::End);
    type_in(&mut controls, "/");
    assert_eq!(press(&mut controls, KeyCode::Char('q')), Act::Nothing, "it is typed");
    let with_control = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL);
    assert_eq!(controls.key(with_control('u'), &Samples::default()), Act::Nothing);
    assert_eq!(controls.filter, "");
    assert_eq!(controls.key(with_control('c'), &Samples::default()), Act::End);
    let mut up = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
    up.kind = KeyEventKind::Release;
    assert_eq!(controls.key(up, &Samples::default()), Act::Nothing);
}

//! Tests of the payloads of control frames.

use super::*;

#[test]
fn hello_and_welcome_read_back() {
    let hello = Hello {
        echo: true,
        latest: true,
        shared: true,
        leaves: true,
        max_queue: 1 << 20,
        previous: Source { node: 1, client: 2 },
        client_name: "sensor".into(),
    };
    assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
    let welcome = Welcome {
        max_payload: 5,
        run: 6,
        reason: Some((ErrorCode::Stalled, "too slow".into())),
        held: true,
    };
    assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
}

#[test]
fn a_hello_of_another_version_is_told_apart_from_noise() {
    let mut payload = Hello::default().encode();
    payload[4] = 9;
    assert_eq!(Hello::decode(&payload), Err(ControlError::Version(9)));
    payload[0] ^= 1;
    assert_eq!(Hello::decode(&payload), Err(ControlError::Magic));
    assert_eq!(Hello::decode(b"abc"), Err(ControlError::Length));
    let mut payload = Hello::default().encode();
    payload[7] = 0x80;
    assert_eq!(Hello::decode(&payload), Err(ControlError::Options(0x8000)));
    payload[7] = 0;
    payload.push(0xff);
    assert_eq!(Hello::decode(&payload), Err(ControlError::ClientName));
}

#[test]
fn codes_survive_their_numbers() {
    for number in 1..=10 {
        assert_eq!(ErrorCode::from_number(number) as u32, number);
    }
    assert_eq!(ErrorCode::from_number(99), ErrorCode::Unknown);
    assert_eq!(decode_lost(&encode_lost(LossReason::Overflow)), Ok(LossReason::Overflow));
    assert_eq!(decode_pong(&encode_pong(7)), Ok(7));
    let wait = Duration::from_millis(1500);
    assert_eq!(decode_cluster(&encode_cluster(wait)), Ok(wait));
    let error = encode_error(ErrorCode::Pattern, "no");
    assert_eq!(decode_error(&error), Ok((ErrorCode::Pattern, "no".into())));
}

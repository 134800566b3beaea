//! What each rule raises, and what it does not.
#![allow(clippy::unwrap_used, reason = "a panic is a failed test")]

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use session_manager_core::{
    ClientInfo, Device, Enrichment, Evidence, Location, Occasion, Session, SessionId, SuspicionAction, SuspicionRule,
    UserId,
};
use session_manager_suspicion::{DeviceChange, ImpossibleTravel, NetworkChange, NewCountry, RejectedTokens};

fn at(minutes: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap() + TimeDelta::minutes(minutes)
}

fn session(number: u128) -> Session {
    let id = SessionId::from(uuid::Uuid::from_u128(number));
    Session::new(id, UserId::parse("alice").unwrap(), at(0), at(100_000))
}

fn place(country: &str, latitude: f64, longitude: f64) -> Location {
    let mut location = Location::default();
    location.country = Some(country.to_owned());
    (location.latitude, location.longitude, location.accuracy_km) = (Some(latitude), Some(longitude), Some(20));
    location
}

fn berlin() -> Location {
    place("DE", 52.52, 13.405)
}

fn munich() -> Location {
    place("DE", 48.137, 11.575)
}

fn tokyo() -> Location {
    place("JP", 35.68, 139.69)
}

fn somewhere(location: Location) -> Enrichment {
    let mut known = Enrichment::default();
    known.location = Some(location);
    known
}

/// What a rule says of a session that is used like this, so many minutes after its sign-in.
async fn judge(
    rule: &dyn SuspicionRule,
    session: &Session,
    known: &Enrichment,
    minutes: i64,
) -> Option<SuspicionAction> {
    let client = ClientInfo::new();
    let mut evidence = Evidence::new(Occasion::Access, &client, known, at(minutes));
    evidence.session = Some(session);
    rule.judge(&evidence).await.unwrap()
}

/// The same at a sign-in.
async fn sign_in(rule: &dyn SuspicionRule, session: &Session, minutes: i64) -> Option<SuspicionAction> {
    let (client, mut known) = (ClientInfo::new(), Enrichment::default());
    known.location.clone_from(&session.location);
    let mut evidence = Evidence::new(Occasion::SignIn, &client, &known, at(minutes));
    evidence.session = Some(session);
    rule.judge(&evidence).await.unwrap()
}

#[tokio::test]
async fn a_country_that_lasts_is_raised_once() {
    let (rule, mut session) = (NewCountry::new(), session(1));
    session.location = Some(berlin());
    assert_eq!(judge(&rule, &session, &somewhere(munich()), 1).await, None);
    assert_eq!(judge(&rule, &session, &somewhere(tokyo()), 2).await, None);
    assert_eq!(judge(&rule, &session, &somewhere(berlin()), 3).await, None, "a mobile network's way back");
    assert_eq!(judge(&rule, &session, &somewhere(tokyo()), 4).await, None);
    assert_eq!(judge(&rule, &session, &Enrichment::default(), 5).await, None, "not known is not another");
    assert_eq!(judge(&rule, &session, &somewhere(tokyo()), 5).await, Some(SuspicionAction::Record));
    assert_eq!(judge(&rule, &session, &somewhere(tokyo()), 6).await, None);
    let strict = NewCountry::new().lasting(Duration::ZERO).action(SuspicionAction::Revoke);
    assert_eq!(judge(&strict, &session, &somewhere(tokyo()), 1).await, Some(SuspicionAction::Revoke));
}

#[tokio::test]
async fn nobody_travels_faster_than_an_airliner() {
    let (rule, mut session) = (ImpossibleTravel::new(), session(1));
    session.location = Some(berlin());
    assert_eq!(judge(&rule, &session, &somewhere(berlin()), 1).await, None);
    assert_eq!(judge(&rule, &session, &somewhere(munich()), 2).await, None, "504 km less what both may be off");
    assert_eq!(judge(&rule, &session, &somewhere(tokyo()), 60).await, Some(SuspicionAction::StepUp));
    assert_eq!(judge(&rule, &session, &somewhere(munich()), 61).await, None, "where the user was is no suspicion");
    let slow = ImpossibleTravel::new();
    assert_eq!(judge(&slow, &session, &somewhere(tokyo()), 12 * 60).await, None, "there is a flight");
    let of_a_tunnel = ImpossibleTravel::new().ignoring([64_500]);
    let mut tunnel = tokyo();
    tunnel.asn = Some(64_500);
    assert_eq!(judge(&of_a_tunnel, &session, &somewhere(tunnel), 1).await, None);
}

#[tokio::test]
async fn travel_between_sign_ins_is_seen() {
    let rule = ImpossibleTravel::new().action(SuspicionAction::Revoke);
    let (mut one, mut other, mut third) = (session(1), session(2), session(3));
    one.location = Some(berlin());
    (other.location, third.location) = (Some(tokyo()), Some(tokyo()));
    assert_eq!(sign_in(&rule, &one, 0).await, None);
    assert_eq!(sign_in(&rule, &other, 5).await, Some(SuspicionAction::Revoke));
    assert_eq!(sign_in(&rule, &third, 6).await, Some(SuspicionAction::Revoke), "what was ended vouches for nothing");
    assert_eq!(judge(&rule, &one, &somewhere(berlin()), 7).await, None);
}

#[tokio::test]
async fn who_answers_a_step_up_may_be_in_both_places() {
    let (rule, mut laptop, mut phone) = (ImpossibleTravel::new(), session(1), session(2));
    (laptop.location, phone.location) = (Some(berlin()), Some(berlin()));
    let tunnel = somewhere(tokyo());
    assert_eq!(judge(&rule, &phone, &somewhere(berlin()), 1).await, None);
    assert_eq!(judge(&rule, &laptop, &tunnel, 2).await, Some(SuspicionAction::StepUp));
    assert_eq!(judge(&rule, &laptop, &tunnel, 2).await, Some(SuspicionAction::StepUp), "it may have failed");
    laptop.authentication.step_up_since = Some(at(2));
    assert_eq!(judge(&rule, &laptop, &tunnel, 3).await, None);
    assert_eq!(judge(&rule, &phone, &tunnel, 3).await, Some(SuspicionAction::StepUp), "nobody has answered yet");
    laptop.authentication.at = at(4);
    assert_eq!(judge(&rule, &laptop, &tunnel, 5).await, None);
    for minutes in 6..20 {
        assert_eq!(judge(&rule, &phone, &somewhere(berlin()), minutes).await, None, "the way back is none");
        assert_eq!(judge(&rule, &laptop, &tunnel, minutes).await, None);
        assert_eq!(judge(&rule, &phone, &tunnel, minutes).await, None, "the place is the user's");
    }
}

/// To sign in there again answers nothing: it is what a thief of the password would do.
#[tokio::test]
async fn another_sign_in_from_there_is_raised_as_well() {
    let rule = ImpossibleTravel::new();
    let (mut one, mut other) = (session(1), session(2));
    (one.location, other.location) = (Some(tokyo()), Some(tokyo()));
    let mut home = session(3);
    home.location = Some(berlin());
    assert_eq!(sign_in(&rule, &home, 0).await, None);
    (one.authentication.at, other.authentication.at) = (at(2), at(4));
    assert_eq!(sign_in(&rule, &one, 2).await, Some(SuspicionAction::StepUp));
    assert_eq!(sign_in(&rule, &other, 4).await, Some(SuspicionAction::StepUp));
}

fn device(browser: &str, version: &str, os: &str) -> Enrichment {
    let mut device = Device::default();
    (device.browser, device.browser_version) = (Some(browser.to_owned()), Some(version.to_owned()));
    device.os = Some(os.to_owned());
    let mut known = Enrichment::default();
    known.device = Some(device);
    known
}

#[tokio::test]
async fn another_browser_or_platform_is_another_device() {
    let before = device("Firefox", "140", "Windows");
    let mut unknown = before.clone();
    unknown.device.as_mut().unwrap().os = None;
    let cases = [
        (before.clone(), false),
        (device("Firefox", "141", "Windows"), false),
        (unknown, false),
        (Enrichment::default(), false),
        (device("Chrome", "140", "Windows"), true),
        (device("Firefox", "140", "Linux"), true),
    ];
    for (number, (now, is_other)) in (1..).zip(cases) {
        let (rule, mut session) = (DeviceChange::new(), session(number));
        session.device.clone_from(&before.device);
        let expected = is_other.then_some(SuspicionAction::StepUp);
        assert_eq!(judge(&rule, &session, &now, 1).await, expected, "{now:?}");
        session.authentication.step_up_since = Some(at(1));
        assert_eq!(judge(&rule, &session, &now, 2).await, None);
    }
}

#[tokio::test]
async fn another_network_is_raised_when_it_lasts() {
    let rule = NetworkChange::new();
    let mut session = session(1);
    session.ip_address = Some("203.0.113.7".parse().unwrap());
    let used = async |address: &str, asn: Option<u32>, minutes| {
        let client = ClientInfo::new().ip(address.parse().unwrap());
        let mut known = somewhere(Location::default());
        known.location.as_mut().unwrap().asn = asn;
        let mut evidence = Evidence::new(Occasion::Access, &client, &known, at(minutes));
        evidence.session = Some(&session);
        rule.judge(&evidence).await.unwrap()
    };
    assert_eq!(used("203.0.113.200", None, 0).await, None, "the same range");
    assert_eq!(used("::ffff:203.0.113.9", None, 1).await, None, "the same range, mapped");
    assert_eq!(used("2001:db8::1", None, 2).await, None, "the other protocol");
    assert_eq!(used("2001:db8::2", None, 20).await, None);
    for minutes in 20..50 {
        let address = format!("198.51.{minutes}.1");
        assert_eq!(used(&address, None, minutes).await, None, "a train: no range lasts");
    }
    assert_eq!(used("198.51.100.1", None, 60).await, None);
    assert_eq!(used("198.51.100.200", None, 65).await, Some(SuspicionAction::Record));
    assert_eq!(used("198.51.100.3", None, 66).await, None);
}

#[tokio::test]
async fn one_operator_is_one_network() {
    let rule = NetworkChange::new().lasting(Duration::ZERO).range(24, 48);
    let mut session = session(1);
    session.ip_address = Some("203.0.113.7".parse().unwrap());
    let mut there = Location::default();
    there.asn = Some(64_501);
    session.location = Some(there);
    for (address, asn, raised) in
        [("198.51.100.1", 64_501, false), ("2001:db8::1", 64_501, false), ("203.0.113.8", 64_502, true)]
    {
        let client = ClientInfo::new().ip(address.parse().unwrap());
        let mut here = Location::default();
        here.asn = Some(asn);
        let known = somewhere(here);
        let mut evidence = Evidence::new(Occasion::Refresh, &client, &known, at(1));
        evidence.session = Some(&session);
        let expected = raised.then_some(SuspicionAction::Record);
        assert_eq!(rule.judge(&evidence).await.unwrap(), expected, "{address}");
    }
}

#[tokio::test]
async fn a_burst_of_refused_tokens_is_raised_once() {
    let rule = RejectedTokens::new(100).with_good_ones(SuspicionAction::Revoke);
    let known = Enrichment::default();
    let refused = async |address: &str, count, minutes| {
        let client = ClientInfo::new().ip(address.parse().unwrap());
        let mut evidence = Evidence::new(Occasion::Rejection, &client, &known, at(minutes));
        evidence.rejections = count;
        rule.judge(&evidence).await.unwrap()
    };
    assert_eq!(refused("203.0.113.7", 1, 0).await, None);
    assert_eq!(refused("203.0.113.7", 10, 0).await, None);
    assert_eq!(refused("203.0.113.7", 100, 0).await, Some(SuspicionAction::Record));
    assert_eq!(refused("203.0.113.7", 1000, 1).await, None, "once");
    assert_eq!(refused("203.0.113.8", 100, 1).await, Some(SuspicionAction::Record), "another address");
    assert_eq!(refused("203.0.113.7", 60, 2).await, None, "not quiet yet");
    assert_eq!(refused("203.0.113.7", 100, 2).await, None);
    assert_eq!(refused("203.0.113.7", 1, 3).await, None);
    assert_eq!(refused("203.0.113.7", 100, 3).await, Some(SuspicionAction::Record), "it had been quiet");

    let (client, session) = (ClientInfo::new(), session(1));
    for (rejections, expected) in [(99, None), (100, Some(SuspicionAction::Revoke))] {
        let mut evidence = Evidence::new(Occasion::Access, &client, &known, at(4));
        (evidence.session, evidence.rejections) = (Some(&session), rejections);
        assert_eq!(rule.judge(&evidence).await.unwrap(), expected);
    }
}

//! What a record tells of a place.

use maxminddb::geoip2::{Asn, City, Country, Names};
use session_manager_core::Location;

/// No place has a longer name; what is longer is no name.
const LONGEST: usize = 200;

/// The language of names; English where a name is not known in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Language {
    /// English.
    #[default]
    English,
    /// German.
    German,
    /// Spanish.
    Spanish,
    /// French.
    French,
    /// Japanese.
    Japanese,
    /// Portuguese of Brazil.
    BrazilianPortuguese,
    /// Russian.
    Russian,
    /// Simplified Chinese.
    SimplifiedChinese,
}

impl Language {
    fn of(self, names: &Names<'_>) -> Option<String> {
        let name = match self {
            Self::English => names.english,
            Self::German => names.german,
            Self::Spanish => names.spanish,
            Self::French => names.french,
            Self::Japanese => names.japanese,
            Self::BrazilianPortuguese => names.brazilian_portuguese,
            Self::Russian => names.russian,
            Self::SimplifiedChinese => names.simplified_chinese,
        };
        text(name.or(names.english))
    }
}

/// Adds what a record of a city database tells.
pub(crate) fn add_city(place: &mut Location, record: &City<'_>, language: Language) {
    place.country = place.country.take().or_else(|| code(record.country.iso_code));
    place.region = record.subdivisions.first().and_then(|region| language.of(&region.names));
    place.city = language.of(&record.city.names);
    let within = |degrees: Option<f64>, most: f64| degrees.filter(|degrees| degrees.abs() <= most);
    // One coordinate without the other is no place.
    if let (Some(latitude), Some(longitude)) =
        (within(record.location.latitude, 90.0), within(record.location.longitude, 180.0))
    {
        (place.latitude, place.longitude) = (Some(latitude), Some(longitude));
        place.accuracy_km = record.location.accuracy_radius.map(u32::from);
    }
}

/// Adds what a record of a country database tells.
pub(crate) fn add_country(place: &mut Location, record: &Country<'_>) {
    place.country = place.country.take().or_else(|| code(record.country.iso_code));
}

/// Adds what a record of a database of autonomous systems tells.
pub(crate) fn add_system(place: &mut Location, record: &Asn<'_>) {
    place.asn = record.autonomous_system_number;
    place.organisation = text(record.autonomous_system_organization);
}

/// A country's code, if it is one.
fn code(code: Option<&str>) -> Option<String> {
    let code = code.filter(|code| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_alphabetic()));
    code.map(str::to_ascii_uppercase)
}

fn text(text: Option<&str>) -> Option<String> {
    let text = text.filter(|text| !text.is_empty() && text.len() <= LONGEST && !text.chars().any(char::is_control));
    text.map(str::to_owned)
}

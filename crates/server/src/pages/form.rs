//! Form fields with their label, hint and errors.

use maud::{Markup, html};

use crate::problem::FieldError;

/// A field of a form.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// Its name and id.
    pub(super) name: &'static str,
    pub(super) label: &'static str,
    /// The `type` of the input.
    pub(super) kind: &'static str,
    pub(super) autocomplete: &'static str,
    pub(super) hint: Option<&'static str>,
    /// What was typed before. Passwords are never sent back.
    pub(super) value: &'a str,
}

/// The errors of a form that was not taken.
#[derive(Clone, Debug, Default)]
pub(super) struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Notes what is wrong with a field, in a sentence that begins with "must".
    pub(super) fn add(&mut self, field: &str, message: &str) {
        self.0.push(FieldError { field: field.to_owned(), message: message.to_owned() });
    }

    /// Takes a field that has a form, or notes what is wrong with it.
    pub(super) fn parsed<T>(&mut self, field: &str, parsed: Result<T, &'static str>) -> Option<T> {
        parsed.map_err(|message| self.add(field, message)).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn of(&self, field: &str) -> Vec<&str> {
        self.0.iter().filter(|error| error.field == field).map(|error| error.message.as_str()).collect()
    }

    /// Whether the field is the first of the wrong ones, where the cursor goes.
    fn is_first(&self, field: &str) -> bool {
        self.0.first().is_some_and(|error| error.field == field)
    }
}

impl From<&[FieldError]> for FieldErrors {
    fn from(errors: &[FieldError]) -> Self {
        Self(errors.to_vec())
    }
}

impl Field<'_> {
    /// The field with what is wrong with it.
    pub(super) fn render(&self, errors: &FieldErrors) -> Markup {
        let wrong = errors.of(self.name);
        let (hint_id, wrong_id) = (format!("{}-hint", self.name), format!("{}-wrong", self.name));
        // What is wrong says more than the hint, and would only be longer beside it.
        let hint = self.hint.filter(|_| wrong.is_empty());
        let described = if wrong.is_empty() { hint.is_some().then_some(&hint_id) } else { Some(&wrong_id) };
        html! {
            div.field {
                label for=(self.name) { (self.label) }
                input type=(self.kind) name=(self.name) id=(self.name) autocomplete=(self.autocomplete) required
                    value=[(!self.value.is_empty()).then_some(self.value)]
                    aria-invalid=[(!wrong.is_empty()).then_some("true")]
                    aria-describedby=[described]
                    autofocus[errors.is_first(self.name)];
                @match wrong.as_slice() {
                    [] => {}
                    [one] => { p.wrong id=(wrong_id) { (self.label) " " (one) "." } }
                    several => {
                        div.wrong id=(wrong_id) {
                            p { (self.label) }
                            ul { @for message in several { li { (message) } } }
                        }
                    }
                }
                @if let Some(hint) = hint { p.hint id=(hint_id) { (hint) } }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWORD: Field<'_> = Field {
        name: "password",
        label: "Password",
        kind: "password",
        autocomplete: "new-password",
        hint: Some("At least 8 characters."),
        value: "",
    };

    #[test]
    fn errors_are_tied_to_their_field() {
        let mut errors = FieldErrors::default();
        assert!(!PASSWORD.render(&errors).into_string().contains("aria-invalid"));
        errors.add("password", "must contain a digit");
        let one = PASSWORD.render(&errors).into_string();
        assert!(one.contains(r#"aria-invalid="true" aria-describedby="password-wrong" autofocus"#), "{one}");
        assert!(one.contains(r#"<p class="wrong" id="password-wrong">Password must contain a digit.</p>"#), "{one}");
        errors.add("password", "must not be <common>");
        let several = PASSWORD.render(&errors).into_string();
        assert!(several.contains("<li>must contain a digit</li><li>must not be &lt;common&gt;</li>"), "{several}");
    }
}

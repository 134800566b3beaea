//! Private keys in DER, made from their numbers: the form in which the library wants them.

use zeroize::Zeroizing;

/// PKCS#8 of an Ed25519 key (RFC 8410 §7).
pub(super) fn ed25519(seed: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    const PREFIX: [u8; 16] =
        [0x30, 0x2E, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2B, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    joined(&[&PREFIX, seed])
}

/// PKCS#8 of a P-256 key with its public point (RFC 5915, RFC 5480).
pub(super) fn p256(private: &[u8; 32], x: &[u8; 32], y: &[u8; 32]) -> Zeroizing<Vec<u8>> {
    const PREFIX: [u8; 36] = [
        0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06,
        0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, 0x04, 0x6D, 0x30, 0x6B, 0x02, 0x01, 0x01, 0x04, 0x20,
    ];
    joined(&[&PREFIX, private, &[0xA1, 0x44, 0x03, 0x42, 0x00, 0x04], x, y])
}

/// PKCS#1 of an RSA key with two primes (RFC 8017 §A.1.2): its numbers in that order, big-endian.
pub(super) fn rsa(numbers: &[Zeroizing<Vec<u8>>; 8]) -> Zeroizing<Vec<u8>> {
    let mut fields = Zeroizing::new(Vec::with_capacity(8192));
    integer(&mut fields, &[0]);
    for number in numbers {
        integer(&mut fields, number);
    }
    let mut sequence = Zeroizing::new(Vec::with_capacity(fields.len().saturating_add(8)));
    field(&mut sequence, 0x30, &fields);
    sequence
}

/// An INTEGER that is not negative.
fn integer(out: &mut Vec<u8>, number: &[u8]) {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    let number = number.get(zeros..).unwrap_or_default();
    // A first byte with the high bit would make it negative; no byte at all is no integer.
    let padded = number.first().is_none_or(|first| *first >= 0x80);
    let content = if padded { joined(&[&[0], number]) } else { joined(&[number]) };
    field(out, 0x02, &content);
}

fn field(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let length = content.len();
    match u8::try_from(length) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let bytes = length.to_be_bytes();
            let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
            let bytes = bytes.get(zeros..).unwrap_or_default();
            out.push(0x80 | u8::try_from(bytes.len()).unwrap_or(0x7F));
            out.extend_from_slice(bytes);
        }
    }
    out.extend_from_slice(content);
}

/// Room for all at once, so that no growing leaves a copy of a key behind.
fn joined(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    for part in parts {
        out.extend_from_slice(part);
    }
    out
}

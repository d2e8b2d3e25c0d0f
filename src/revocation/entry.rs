//! The bytes that processes of a fleet exchange for each entry of the list, before they are sealed.
//!
//! ```text
//! format   1   0x01
//! kind     1   0x01 a session, 0x02 a subject, 0x03 all, 0x04 a lifetime, 0x05 a new id, 0x06 a sid,
//!              0x07 a bound session
//!
//! a session:   id 16, from 6, until 6
//! a subject:   moment 6, subject: the rest, 1 to 255 bytes
//! all:         moment 6
//! a lifetime:  longest 6, until 6
//! a new id:    old id 16, moment 6, new id 16
//! a sid:       moment 6, sid: the rest, 1 to 255 bytes
//! bound:       id 16, binding 16, until 6
//! ```
//!
//! Moments are Unix milliseconds, big-endian. A lifetime is in milliseconds.

use super::Revocation;
use crate::envelope::encoded_len;
use crate::error::Refusal;
use crate::reader::{Malformed, Reader};
use crate::record::{BindingId, MAX_NAME, SessionId};
use crate::time::Millis;

const FORMAT: u8 = 1;

const SESSION: u8 = 0x01;
const SUBJECT: u8 = 0x02;
const ALL: u8 = 0x03;
const LIFETIME: u8 = 0x04;
const MOVED: u8 = 0x05;
const SID: u8 = 0x06;
const BOUND: u8 = 0x07;

/// The longest token of an entry, in characters.
pub(crate) const MAX_TOKEN: usize = encoded_len(2 + 6 + MAX_NAME);

impl Revocation {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        match self {
            Self::Id { id, from, until } => {
                bytes.push(SESSION);
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(&from.to_be_bytes());
                bytes.extend_from_slice(&until.to_be_bytes());
            }
            Self::Subject { subject, moment } => {
                bytes.push(SUBJECT);
                bytes.extend_from_slice(&moment.to_be_bytes());
                bytes.extend_from_slice(subject.as_bytes());
            }
            Self::Sid { sid, moment } => {
                bytes.push(SID);
                bytes.extend_from_slice(&moment.to_be_bytes());
                bytes.extend_from_slice(sid.as_bytes());
            }
            Self::All { moment } => {
                bytes.push(ALL);
                bytes.extend_from_slice(&moment.to_be_bytes());
            }
            Self::Lifetime { longest, until } => {
                bytes.push(LIFETIME);
                let longest = Millis::default().plus((*longest).into());
                bytes.extend_from_slice(&longest.to_be_bytes());
                bytes.extend_from_slice(&until.to_be_bytes());
            }
            Self::Moved { id, next, at } => {
                bytes.push(MOVED);
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(&at.to_be_bytes());
                bytes.extend_from_slice(next.as_bytes());
            }
            Self::Bound { id, binding, until } => {
                bytes.push(BOUND);
                bytes.extend_from_slice(id.as_bytes());
                bytes.extend_from_slice(binding.as_bytes());
                bytes.extend_from_slice(&until.to_be_bytes());
            }
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, Refusal> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != FORMAT {
            return Err(Refusal::Newer);
        }
        let what = reader.byte()?;
        let revocation = match what {
            SESSION => Self::Id {
                id: SessionId::from_bytes(reader.array()?),
                from: moment(&mut reader)?,
                until: moment(&mut reader)?,
            },
            SUBJECT => {
                let (moment, subject) = cutoff(&mut reader)?;
                Self::Subject { subject, moment }
            }
            SID => {
                let (moment, sid) = cutoff(&mut reader)?;
                Self::Sid { sid, moment }
            }
            ALL => Self::All {
                moment: moment(&mut reader)?,
            },
            LIFETIME => Self::Lifetime {
                longest: moment(&mut reader)?.since(Millis::default()).into(),
                until: moment(&mut reader)?,
            },
            MOVED => Self::Moved {
                id: SessionId::from_bytes(reader.array()?),
                at: moment(&mut reader)?,
                next: SessionId::from_bytes(reader.array()?),
            },
            BOUND => Self::Bound {
                id: SessionId::from_bytes(reader.array()?),
                binding: BindingId::from_bytes(reader.array()?),
                until: moment(&mut reader)?,
            },
            _ => return Err(Refusal::Newer),
        };
        reader.finish()?;
        Ok(revocation)
    }
}

/// A moment, and the name that it is for.
fn cutoff(reader: &mut Reader<'_>) -> Result<(Millis, Box<str>), Malformed> {
    let moment = moment(reader)?;
    let name = reader.take(reader.rest().len())?;
    let name = std::str::from_utf8(name).map_err(|_| Malformed)?;
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Malformed);
    }
    Ok((moment, name.into()))
}

fn moment(reader: &mut Reader<'_>) -> Result<Millis, Malformed> {
    reader.array().map(Millis::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::vectors::{File, vectors};

    fn entries() -> [Revocation; 8] {
        let moment = Millis::from_raw(1_700_000_000_123);
        [
            Revocation::Id {
                id: SessionId::from_bytes([7; 16]),
                from: Millis::default(),
                until: Millis::MAX,
            },
            Revocation::Subject {
                subject: "ada".into(),
                moment,
            },
            Revocation::Subject {
                subject: "é".repeat(MAX_NAME / 2).into(),
                moment,
            },
            Revocation::All { moment },
            Revocation::Lifetime {
                longest: Duration::from_secs(30 * 24 * 3600).into(),
                until: moment,
            },
            Revocation::Moved {
                id: SessionId::from_bytes([7; 16]),
                next: SessionId::from_bytes([8; 16]),
                at: moment,
            },
            Revocation::Sid {
                sid: "08a5019c".into(),
                moment,
            },
            Revocation::Bound {
                id: SessionId::from_bytes([7; 16]),
                binding: BindingId::from_bytes([9; 16]),
                until: moment,
            },
        ]
    }

    #[test]
    fn what_is_encoded_decodes_and_fits_a_token() {
        for entry in entries() {
            let bytes = entry.encode();
            assert!(encoded_len(bytes.len()) <= MAX_TOKEN);
            assert_eq!(Revocation::decode(&bytes), Ok(entry));
        }
    }

    #[test]
    fn the_bytes_are_those_of_the_format() {
        let expected = [
            &[&[1, 1][..], &[7; 16], &[0; 6], &[0xff; 6]].concat(),
            &[&[1, 2, 1, 0x8b, 0xcf, 0xe5, 0x68, 0x7b][..], b"ada"].concat(),
        ];
        for (entry, expected) in entries().iter().zip(expected) {
            assert_eq!(entry.encode(), *expected);
        }
    }

    #[test]
    fn what_is_cut_or_too_long_or_unknown_is_refused() {
        for entry in entries() {
            let bytes = entry.encode();
            let least = bytes.len().min(8);
            for end in 0..least {
                assert!(Revocation::decode(&bytes[..end]).is_err(), "{end}");
            }
            if !matches!(entry, Revocation::Subject { .. } | Revocation::Sid { .. }) {
                let long = [&bytes[..], &[0]].concat();
                assert_eq!(Revocation::decode(&long), Err(Refusal::BadRecord));
            }
        }
        for bytes in [[2, 1], [1, 0], [1, 8]] {
            assert_eq!(Revocation::decode(&bytes), Err(Refusal::Newer));
        }
        for subject in [&[][..], &[0xff], &[b'a'; MAX_NAME + 1]] {
            for kind in [SUBJECT, SID] {
                let bytes = [&[1, kind, 0, 0, 0, 0, 0, 0][..], subject].concat();
                assert_eq!(Revocation::decode(&bytes), Err(Refusal::BadRecord));
            }
        }
    }

    #[test]
    fn every_vector_opens_to_what_has_ended_and_is_written_alike() {
        let file: File = vectors!("revocations.json");
        assert_eq!(file.vectors.len(), 11);
        for vector in &file.vectors {
            let opened = vector.open().unwrap().plaintext;
            assert_eq!(*opened, *vector.plaintext, "{vector}");
            let stated = vector.ended.as_ref().unwrap();
            let moment = |of: Option<u64>| Millis::from_raw(of.unwrap());
            let stated = match (&stated.id, &stated.subject) {
                _ if stated.sid.is_some() => Revocation::Sid {
                    sid: stated.sid.as_deref().unwrap().into(),
                    moment: moment(stated.moment),
                },
                _ if stated.longest.is_some() => Revocation::Lifetime {
                    longest: Duration::from_millis(stated.longest.unwrap()).into(),
                    until: moment(stated.until),
                },
                (Some(id), _) if stated.binding.is_some() => Revocation::Bound {
                    id: SessionId::from_bytes(id[..].try_into().unwrap()),
                    binding: BindingId::from_bytes(
                        stated.binding.as_ref().unwrap()[..].try_into().unwrap(),
                    ),
                    until: moment(stated.until),
                },
                (Some(id), _) if stated.next.is_some() => Revocation::Moved {
                    id: SessionId::from_bytes(id[..].try_into().unwrap()),
                    next: SessionId::from_bytes(
                        stated.next.as_ref().unwrap()[..].try_into().unwrap(),
                    ),
                    at: moment(stated.moment),
                },
                (Some(id), _) => Revocation::Id {
                    id: SessionId::from_bytes(id[..].try_into().unwrap()),
                    from: moment(stated.from),
                    until: moment(stated.until),
                },
                (None, Some(subject)) => Revocation::Subject {
                    subject: subject.as_str().into(),
                    moment: moment(stated.moment),
                },
                (None, None) => Revocation::All {
                    moment: moment(stated.moment),
                },
            };
            assert_eq!(stated.encode(), *opened, "{vector}");
            assert_eq!(Revocation::decode(&opened), Ok(stated), "{vector}");
        }
    }
}

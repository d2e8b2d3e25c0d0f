//! A bounded reader of postcard's primitives.
//!
//! It accepts one spelling of everything: the shortest form of a varint, and only lengths that fit
//! the remaining bytes. It never indexes and never allocates, and its results borrow from the
//! input. Wire format: <https://postcard.jamesmunns.com/wire-format>.

/// The input does not follow the format. The error says no more, to give a hostile input no help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A position in the input: the bytes that are still unread.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.rest.split_at_checked(n).ok_or(Malformed)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, tail) = self.rest.split_first_chunk::<N>().ok_or(Malformed)?;
        self.rest = tail;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn byte(&mut self) -> Result<u8, Malformed> {
        let (&head, tail) = self.rest.split_first().ok_or(Malformed)?;
        self.rest = tail;
        Ok(head)
    }

    pub(crate) fn peek(&self) -> Result<u8, Malformed> {
        self.rest.first().copied().ok_or(Malformed)
    }

    /// A LEB128 integer of at most 64 bits, in its shortest form.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Malformed> {
        // Nearly all are one byte long: the lengths of keys and of small values.
        match self.rest {
            [byte @ 0..=0x7f, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => {
                let (value, rest) = long_varint(self.rest)?;
                self.rest = rest;
                Ok(value)
            }
        }
    }

    /// A zigzag varint: postcard's signed integer.
    pub(crate) fn signed(&mut self) -> Result<i64, Malformed> {
        let zigzag = self.varint()?;
        let half = i64::try_from(zigzag >> 1).map_err(|_| Malformed)?;
        Ok(if zigzag & 1 == 0 { half } else { !half })
    }

    /// The number of items that follow, which is never more than the number of bytes left.
    #[inline]
    pub(crate) fn count(&mut self) -> Result<usize, Malformed> {
        let n = usize::try_from(self.varint()?).map_err(|_| Malformed)?;
        if n > self.rest.len() {
            Err(Malformed)
        } else {
            Ok(n)
        }
    }

    /// A byte string after its length.
    #[inline(always)]
    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let n = self.count()?;
        self.take(n)
    }

    /// A UTF-8 string after its length.
    #[inline]
    pub(crate) fn str(&mut self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Malformed)
    }

    pub(crate) fn finish(self) -> Result<(), Malformed> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(Malformed)
        }
    }
}

/// Reads a varint of more than one byte, and returns the bytes after it. It is a function of its
/// own so that the reader can stay in registers.
#[inline(never)]
fn long_varint(bytes: &[u8]) -> Result<(u64, &[u8]), Malformed> {
    let mut reader = Reader::new(bytes);
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let byte = reader.byte()?;
        let bits = u64::from(byte & 0x7f);
        // The tenth byte holds the last bit of a u64.
        if shift == 63 && bits > 1 {
            return Err(Malformed);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            // A last byte of zero adds nothing, so the number has a shorter form. It is not the
            // first byte, because `varint` has taken that.
            return if byte == 0 {
                Err(Malformed)
            } else {
                Ok((value, reader.rest))
            };
        }
    }
    Err(Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn varint(bytes: &[u8]) -> Result<u64, Malformed> {
        let mut reader = Reader::new(bytes);
        let value = reader.varint()?;
        reader.finish()?;
        Ok(value)
    }

    #[test]
    fn a_varint_is_read_at_its_ends() {
        assert_eq!(varint(&[0]), Ok(0));
        assert_eq!(varint(&[0x7f]), Ok(127));
        assert_eq!(varint(&[0x80, 0x01]), Ok(128));
        assert_eq!(
            varint(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
            Ok(u64::MAX)
        );
    }

    #[test]
    fn an_overlong_or_overflowing_varint_is_refused() {
        for bytes in [
            &[0x80, 0x00][..],
            &[0xff, 0x80, 0x00],
            &[0x80],
            &[],
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02],
            &[
                0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x00,
            ],
        ] {
            assert_eq!(varint(bytes), Err(Malformed), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_signed_integer_is_read_at_its_ends() {
        for value in [0, -1, 1, i64::MIN, i64::MAX] {
            let bytes = postcard::to_allocvec(&value).unwrap();
            assert_eq!(Reader::new(&bytes).signed(), Ok(value));
        }
    }

    #[test]
    fn a_length_beyond_the_end_is_refused_before_anything_is_taken() {
        assert_eq!(Reader::new(&[3, 1, 2]).bytes(), Err(Malformed));
        assert_eq!(
            Reader::new(&[0xff, 0xff, 0xff, 0xff, 0x0f]).bytes(),
            Err(Malformed)
        );
        assert_eq!(Reader::new(&[2, 1, 2]).bytes(), Ok(&[1, 2][..]));
        assert_eq!(Reader::new(&[1, 0xff]).str(), Err(Malformed));
    }
}

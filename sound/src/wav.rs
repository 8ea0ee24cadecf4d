//! WAV files of 16-bit mono PCM: prompts and recordings. Bytes in, bytes out; files are opened elsewhere.
//!
//! Not here: other encodings, channels, or resampling; what is not 16-bit mono is refused with a word that says so.

/// Sound with its rate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wav {
    /// Samples a second.
    pub hz: u32,
    /// The sound.
    pub samples: Vec<i16>,
}

/// Why a file is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WavError {
    /// It is no WAV file, or is cut off within its headers.
    NotWav,
    /// It is not 16-bit PCM.
    NotPcm16,
    /// It has several channels.
    NotMono,
    /// It has no sound.
    Empty,
}

impl std::fmt::Display for WavError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotWav => "is no WAV file",
            Self::NotPcm16 => "is not 16-bit PCM",
            Self::NotMono => "is not mono",
            Self::Empty => "has no sound",
        })
    }
}

impl std::error::Error for WavError {}

impl Wav {
    /// Reads a file. Chunks that are not needed are passed over; a length that says more than there is (a recording that was not
    /// closed) means up to the end.
    pub fn parse(bytes: &[u8]) -> Result<Self, WavError> {
        if bytes.get(..4) != Some(b"RIFF") || bytes.get(8..12) != Some(b"WAVE") {
            return Err(WavError::NotWav);
        }
        let mut rest = &bytes[12..];
        let mut hz = None;
        while let Some((head, body)) = rest.split_at_checked(8) {
            let len = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
            let chunk = &body[..len.min(body.len())];
            match &head[..4] {
                b"fmt " => hz = Some(format(chunk)?),
                b"data" => return Self::with_data(hz.ok_or(WavError::NotWav)?, chunk),
                _ => {}
            }
            // Chunks begin at even places.
            rest = body.get(len.saturating_add(len & 1)..).unwrap_or_default();
        }
        Err(if hz.is_some() { WavError::Empty } else { WavError::NotWav })
    }

    fn with_data(hz: u32, data: &[u8]) -> Result<Self, WavError> {
        let samples: Vec<i16> = data.chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])).collect();
        if samples.is_empty() { Err(WavError::Empty) } else { Ok(Self { hz, samples }) }
    }

    /// Writes a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let data_len = 2 * self.samples.len() as u32;
        let mut bytes = Vec::with_capacity(44 + data_len as usize);
        bytes.extend(b"RIFF");
        bytes.extend((36 + data_len).to_le_bytes());
        bytes.extend(b"WAVEfmt ");
        bytes.extend(16_u32.to_le_bytes());
        bytes.extend([PCM, 0, 1, 0]);
        bytes.extend(self.hz.to_le_bytes());
        bytes.extend(self.hz.saturating_mul(2).to_le_bytes());
        bytes.extend([2, 0, 16, 0]);
        bytes.extend(b"data");
        bytes.extend(data_len.to_le_bytes());
        bytes.extend(self.samples.iter().flat_map(|sample| sample.to_le_bytes()));
        bytes
    }
}

/// The rate of a format chunk.
fn format(chunk: &[u8]) -> Result<u32, WavError> {
    let &[tag, tag_high, channels, channels_high, a, b, c, d, _, _, _, _, _, _, bits, bits_high, ..] = chunk else {
        return Err(WavError::NotWav);
    };
    // The extensible form (0xfffe) says in its longer part what the short tag would: PCM's begins with 1.
    let is_pcm = match u16::from_le_bytes([tag, tag_high]) {
        1 => true,
        0xfffe => chunk.get(24..26) == Some(&[PCM, 0]),
        _ => false,
    };
    if !is_pcm || u16::from_le_bytes([bits, bits_high]) != 16 {
        return Err(WavError::NotPcm16);
    }
    if u16::from_le_bytes([channels, channels_high]) != 1 {
        return Err(WavError::NotMono);
    }
    Ok(u32::from_le_bytes([a, b, c, d]))
}

const PCM: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Wav {
        Wav { hz: 8_000, samples: vec![0, 1, -1, i16::MAX, i16::MIN] }
    }

    #[test]
    fn what_was_written_is_read_again() {
        assert_eq!(Wav::parse(&sample().to_bytes()), Ok(sample()));
    }

    #[test]
    fn other_chunks_are_passed_over_and_a_recording_that_was_not_closed_is_read() {
        let mut bytes = sample().to_bytes();
        bytes.splice(12..12, *b"LIST\x03\0\0\0abc\0");
        assert_eq!(Wav::parse(&bytes), Ok(sample()));
        let at = bytes.len() - 14;
        bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
        assert_eq!(Wav::parse(&bytes), Ok(sample()));
    }

    #[test]
    fn what_is_no_mono_pcm_is_refused_by_name() {
        let changed = |place: usize, value: u8| {
            let mut bytes = sample().to_bytes();
            bytes[place] = value;
            Wav::parse(&bytes)
        };
        assert_eq!(changed(0, b'X'), Err(WavError::NotWav));
        assert_eq!(changed(20, 6), Err(WavError::NotPcm16));
        assert_eq!(changed(34, 8), Err(WavError::NotPcm16));
        assert_eq!(changed(22, 2), Err(WavError::NotMono));
        assert_eq!(Wav::parse(&sample().to_bytes()[..44]), Err(WavError::Empty));
        for len in 0..44 {
            assert!(Wav::parse(&sample().to_bytes()[..len]).is_err());
        }
    }
}

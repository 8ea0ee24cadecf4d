//! The dependency descriptor header extension (RTP Payload Format for AV1 1.0, appendix A): which frame a packet
//! belongs to, its layers, and which receivers need it, for any codec and also when the payload is encrypted.
//!
//! Most descriptors are three bytes and name a template; the templates come with a keyframe. So a
//! [`DescriptorReader`] per stream keeps the last structure. Not here: which frames to forward.
//! Invariant: a structure is kept only when all of it parsed; its size is fixed, whatever the sender claims.

use super::bits::BitReader;
use super::frame::FrameInfo;
use crate::units::PictureSize;

/// How a frame matters to one decode target (section A.8.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeTargetIndication {
    /// Not needed.
    NotPresent,
    /// Wanted, but no later frame of the target needs it.
    Discardable,
    /// Wanted, and a receiver may start taking this target here.
    Switch,
    /// Needed.
    Required,
}

/// What one packet's descriptor says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Descriptor {
    /// First packet of its frame.
    pub starts_frame: bool,
    /// Last packet of its frame.
    pub ends_frame: bool,
    /// Counts frames of all layers modulo 2^16.
    pub frame_number: u16,
    /// Spatial layer.
    pub spatial: u8,
    /// Temporal layer.
    pub temporal: u8,
    /// Starts a frame that refers to no other and brings the structure for what follows.
    pub keyframe: bool,
    /// A receiver of lower temporal layers of this spatial layer may take up this frame's layer here.
    pub layer_sync: bool,
    /// What the frame is to each decode target.
    pub decode_targets: DecodeTargets,
    /// Which decode targets the sender still produces; a bit each.
    pub active_decode_targets: u32,
    /// Size of the frame's spatial layer, when the structure tells it.
    pub picture_size: Option<PictureSize>,
}

/// One indication for each decode target of the structure.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DecodeTargets {
    /// Two bits each, the first target in the lowest ones.
    codes: u64,
    count: u8,
}

impl DecodeTargets {
    /// How many targets the structure has, at most 32.
    #[must_use]
    pub fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Whether there is none, which a parsed descriptor never has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the frame is to a target; `NotPresent` for one that does not exist.
    #[must_use]
    pub fn indication(&self, target: usize) -> DecodeTargetIndication {
        let code = if target < self.len() { self.codes >> (2 * target) & 0b11 } else { 0 };
        match code {
            0 => DecodeTargetIndication::NotPresent,
            1 => DecodeTargetIndication::Discardable,
            2 => DecodeTargetIndication::Switch,
            _ => DecodeTargetIndication::Required,
        }
    }

    fn read(bits: &mut BitReader<'_>, count: u8) -> Option<Self> {
        let mut codes = 0;
        for target in 0..count {
            codes |= u64::from(bits.number(2)?) << (2 * target);
        }
        Some(Self { codes, count })
    }
}

impl Descriptor {
    /// The same facts in the form that a codec's payload header gives them.
    #[must_use]
    pub fn frame_info(&self) -> FrameInfo {
        FrameInfo {
            starts_frame: self.starts_frame,
            ends_frame: self.ends_frame,
            keyframe: self.keyframe,
            spatial: self.spatial,
            temporal: self.temporal,
            layer_sync: self.layer_sync,
            picture_size: self.picture_size.filter(|_| self.keyframe),
        }
    }
}

/// Reads the descriptors of one stream.
#[derive(Clone, Debug, Default)]
pub struct DescriptorReader {
    structure: Option<Box<Structure>>,
}

impl DescriptorReader {
    /// Knows no structure yet: every descriptor without one is unreadable until the first keyframe.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the extension's value. `None` when it is malformed or refers to an unknown template; a malformed one
    /// changes nothing.
    pub fn read(&mut self, extension: &[u8]) -> Option<Descriptor> {
        let mut bits = BitReader::new(extension);
        let starts_frame = bits.flag()?;
        let ends_frame = bits.flag()?;
        let template_id = bits.small(6)?;
        let frame_number = bits.number(16)? as u16;
        let extended = if extension.len() > MANDATORY_LEN { Extended::read(&mut bits)? } else { Extended::default() };

        let attached = if extended.has_structure { Some(Structure::read(&mut bits)?) } else { None };
        let structure = attached.as_ref().or(self.structure.as_deref())?;
        let mut active = if attached.is_some() { structure.all_targets() } else { structure.active };
        if extended.has_active_targets {
            active = bits.number(u32::from(structure.target_count))?;
        }
        let frame = structure.frame(template_id, extended, &mut bits)?;
        let descriptor = Descriptor {
            starts_frame,
            ends_frame,
            frame_number,
            spatial: frame.spatial,
            temporal: frame.temporal,
            keyframe: attached.is_some() && starts_frame && !frame.refers,
            layer_sync: structure.is_layer_sync(&frame),
            decode_targets: frame.targets,
            active_decode_targets: active,
            picture_size: structure.sizes[usize::from(frame.spatial)],
        };
        match (attached, &mut self.structure) {
            // One allocation a stream: a later structure takes the place of the first.
            (Some(attached), Some(kept)) => **kept = attached,
            (Some(attached), none) => *none = Some(Box::new(attached)),
            (None, _) => {}
        }
        if let Some(structure) = &mut self.structure {
            structure.active = active;
        }
        Some(descriptor)
    }
}

/// The flags of `extended_descriptor_fields()`.
#[derive(Clone, Copy, Default)]
struct Extended {
    has_structure: bool,
    has_active_targets: bool,
    custom_targets: bool,
    custom_references: bool,
    custom_chains: bool,
}

impl Extended {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        Some(Self {
            has_structure: bits.flag()?,
            has_active_targets: bits.flag()?,
            custom_targets: bits.flag()?,
            custom_references: bits.flag()?,
            custom_chains: bits.flag()?,
        })
    }
}

/// A frame's properties, from a template or written out.
#[derive(Clone, Copy, Debug, Default)]
struct Template {
    spatial: u8,
    temporal: u8,
    targets: DecodeTargets,
    /// Refers to at least one earlier frame.
    refers: bool,
}

/// `template_dependency_structure()`.
#[derive(Clone, Debug)]
struct Structure {
    id_offset: u8,
    target_count: u8,
    chain_count: u8,
    template_count: u8,
    templates: [Template; TEMPLATES_MAX],
    /// By spatial layer.
    sizes: [Option<PictureSize>; SPATIAL_LAYERS_MAX],
    /// Decode targets in which frames of their own highest layers are needed by later ones: a bit each. There a
    /// discardable frame may rest on one that a newcomer has not got.
    chained_targets: u32,
    /// Highest spatial and temporal layer of each decode target.
    target_layers: [(u8, u8); TARGETS_MAX],
    active: u32,
}

impl Structure {
    fn read(bits: &mut BitReader<'_>) -> Option<Self> {
        let id_offset = bits.small(6)?;
        let target_count = bits.small(5)? + 1;
        let mut structure = Structure {
            id_offset,
            target_count,
            chain_count: 0,
            template_count: 0,
            templates: [Template::default(); TEMPLATES_MAX],
            sizes: [None; SPATIAL_LAYERS_MAX],
            chained_targets: 0,
            target_layers: [(0, 0); TARGETS_MAX],
            active: 0,
        };
        let spatial_max = structure.read_layers(bits)?;
        for template in structure.used_templates() {
            template.targets = DecodeTargets::read(bits, target_count)?;
        }
        for template in structure.used_templates() {
            while bits.flag()? {
                bits.skip(4)?;
                template.refers = true;
            }
        }
        structure.read_chains(bits)?;
        if bits.flag()? {
            for size in &mut structure.sizes[..=usize::from(spatial_max)] {
                *size = Some(read_size(bits)?);
            }
        }
        structure.derive_targets();
        structure.active = structure.all_targets();
        Some(structure)
    }

    /// `template_layers()`; returns the highest spatial layer.
    fn read_layers(&mut self, bits: &mut BitReader<'_>) -> Option<u8> {
        let (mut spatial, mut temporal) = (0, 0);
        loop {
            let template = self.templates.get_mut(usize::from(self.template_count))?;
            (template.spatial, template.temporal) = (spatial, temporal);
            self.template_count += 1;
            match bits.small(2)? {
                0 => {}
                1 => temporal += 1,
                2 => (spatial, temporal) = (spatial + 1, 0),
                _ => return Some(spatial),
            }
            if usize::from(spatial) >= SPATIAL_LAYERS_MAX || usize::from(temporal) >= TEMPORAL_LAYERS_MAX {
                return None;
            }
        }
    }

    /// `template_chains()`: passed over. Chains tell whether a target is intact, which a receiver finds out itself.
    fn read_chains(&mut self, bits: &mut BitReader<'_>) -> Option<()> {
        self.chain_count = bits.non_symmetric(u32::from(self.target_count) + 1)? as u8;
        if self.chain_count == 0 {
            return Some(());
        }
        for _ in 0..self.target_count {
            bits.non_symmetric(u32::from(self.chain_count))?;
        }
        bits.skip(4 * usize::from(self.template_count) * usize::from(self.chain_count))
    }

    /// `decode_target_layers()` and what follows from the indications.
    fn derive_targets(&mut self) {
        let templates = &self.templates[..usize::from(self.template_count)];
        for (target, layers) in self.target_layers.iter_mut().enumerate() {
            let present =
                |template: &&Template| template.targets.indication(target) != DecodeTargetIndication::NotPresent;
            for template in templates.iter().filter(present) {
                *layers = (layers.0.max(template.spatial), layers.1.max(template.temporal));
            }
            let chained = templates.iter().any(|template| {
                (template.spatial, template.temporal) == *layers
                    && template.targets.indication(target) == DecodeTargetIndication::Required
            });
            self.chained_targets |= u32::from(chained) << target;
        }
    }

    fn used_templates(&mut self) -> impl Iterator<Item = &mut Template> {
        self.templates[..usize::from(self.template_count)].iter_mut()
    }

    fn all_targets(&self) -> u32 {
        u32::MAX >> (32 - u32::from(self.target_count))
    }

    /// `frame_dependency_definition()`.
    fn frame(&self, template_id: u8, extended: Extended, bits: &mut BitReader<'_>) -> Option<Template> {
        let index = (template_id + TEMPLATES_MAX as u8 - self.id_offset) % TEMPLATES_MAX as u8;
        let mut frame = *self.templates[..usize::from(self.template_count)].get(usize::from(index))?;
        if extended.custom_targets {
            frame.targets = DecodeTargets::read(bits, self.target_count)?;
        }
        if extended.custom_references {
            frame.refers = false;
            loop {
                let size = bits.number(2)?;
                if size == 0 {
                    break;
                }
                bits.skip(4 * size as usize)?;
                frame.refers = true;
            }
        }
        if extended.custom_chains {
            bits.skip(8 * usize::from(self.chain_count))?;
        }
        Some(frame)
    }

    /// Whether taking up the frame's own layer here is safe: its target says so, or none of that layer's frames is
    /// ever needed by another, so that missing the ones before does no harm.
    fn is_layer_sync(&self, frame: &Template) -> bool {
        (0..usize::from(self.target_count))
            .filter(|&target| self.target_layers[target] == (frame.spatial, frame.temporal))
            .any(|target| match frame.targets.indication(target) {
                DecodeTargetIndication::Switch => true,
                DecodeTargetIndication::Discardable => self.chained_targets >> target & 1 == 0,
                DecodeTargetIndication::NotPresent | DecodeTargetIndication::Required => false,
            })
    }
}

fn read_size(bits: &mut BitReader<'_>) -> Option<PictureSize> {
    // 65,536 does not fit; no codec in use makes such a picture.
    let mut dimension = || Some((bits.number(16)? as u16).saturating_add(1));
    Some(PictureSize { width: dimension()?, height: dimension()? })
}

/// Bytes of a descriptor without extended fields.
const MANDATORY_LEN: usize = 3;
/// Template ids are six bits.
const TEMPLATES_MAX: usize = 64;
/// The count is five bits, less one.
const TARGETS_MAX: usize = 32;
/// AV1 has no more (two and three bits in its OBU header).
const SPATIAL_LAYERS_MAX: usize = 4;
const TEMPORAL_LAYERS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::bits::BitWriter;
    use crate::rtp::random;
    use DecodeTargetIndication::{Discardable, NotPresent, Required, Switch};

    /// A template as the tests write it: layers, an indication per target (`-`, `D`, `S`, `R`), reference distances.
    type WrittenTemplate = (u8, u8, &'static str, &'static [u32]);

    /// One spatial layer, three temporal ones, as libwebrtc's L1T3.
    const L1T3: [WrittenTemplate; 5] =
        [(0, 0, "SSS", &[]), (0, 0, "SSS", &[4]), (0, 1, "-DS", &[2]), (0, 2, "--D", &[1]), (0, 2, "--D", &[1])];

    /// Two spatial layers, key pictures only joined.
    const L2T1_KEY: [WrittenTemplate; 4] =
        [(0, 0, "SS", &[]), (0, 0, "R-", &[2]), (1, 0, "-S", &[1]), (1, 0, "-R", &[2])];

    fn mandatory(bits: &mut BitWriter, starts: bool, ends: bool, template_id: u32, frame_number: u32) {
        bits.number(u32::from(starts), 1).number(u32::from(ends), 1).number(template_id, 6).number(frame_number, 16);
    }

    fn indications(bits: &mut BitWriter, told: &str) {
        for target in told.bytes() {
            bits.number(b"-DSR".iter().position(|&code| code == target).unwrap() as u32, 2);
        }
    }

    fn write_structure(bits: &mut BitWriter, id_offset: u32, templates: &[WrittenTemplate], sizes: &[(u32, u32)]) {
        let targets = templates[0].2.len() as u32;
        bits.number(id_offset, 6).number(targets - 1, 5);
        for pair in templates.windows(2) {
            let step = match (pair[1].0 > pair[0].0, pair[1].1 > pair[0].1) {
                (true, _) => 2,
                (false, true) => 1,
                (false, false) => 0,
            };
            bits.number(step, 2);
        }
        bits.number(3, 2);
        templates.iter().for_each(|template| indications(bits, template.2));
        for template in templates {
            for &distance in template.3 {
                bits.number(1, 1).number(distance - 1, 4);
            }
            bits.number(0, 1);
        }
        // One chain that protects every target: ns(targets + 1) = 1, then ns(1) takes no bits.
        let width = u32::BITS - (targets + 1).leading_zeros();
        let short_codes = (1 << width) - (targets + 1);
        bits.number(if 1 < short_codes { 1 } else { 1 + short_codes }, if 1 < short_codes { width - 1 } else { width });
        for _ in templates {
            bits.number(1, 4);
        }
        bits.number(u32::from(!sizes.is_empty()), 1);
        for &(width, height) in sizes {
            bits.number(width - 1, 16).number(height - 1, 16);
        }
    }

    /// The first packet of a keyframe: template `id_offset`, with the structure.
    fn key(id_offset: u32, templates: &[WrittenTemplate], sizes: &[(u32, u32)]) -> Vec<u8> {
        let mut bits = BitWriter::default();
        mandatory(&mut bits, true, false, id_offset, 1);
        bits.number(0b10000, 5);
        write_structure(&mut bits, id_offset, templates, sizes);
        bits.bytes
    }

    fn delta(template_id: u32) -> Vec<u8> {
        let mut bits = BitWriter::default();
        mandatory(&mut bits, true, true, template_id, 2);
        bits.bytes
    }

    fn told(descriptor: &Descriptor) -> Vec<DecodeTargetIndication> {
        (0..descriptor.decode_targets.len()).map(|target| descriptor.decode_targets.indication(target)).collect()
    }

    #[test]
    fn a_keyframe_brings_the_structure_that_later_frames_name() {
        let mut reader = DescriptorReader::new();
        assert_eq!(reader.read(&delta(61)), None, "no structure yet");

        let keyframe = reader.read(&key(60, &L1T3, &[(640, 360)])).unwrap();
        assert!(keyframe.keyframe && keyframe.starts_frame && !keyframe.ends_frame);
        assert_eq!((keyframe.frame_number, keyframe.active_decode_targets), (1, 0b111));
        assert_eq!(keyframe.frame_info().picture_size, Some(PictureSize { width: 640, height: 360 }));

        let base = reader.read(&delta(61)).unwrap();
        assert_eq!((base.keyframe, base.temporal, base.layer_sync), (false, 0, true));
        assert_eq!(told(&base), [Switch, Switch, Switch]);
        assert_eq!(base.frame_info().picture_size, None, "only a keyframe tells the size");

        let middle = reader.read(&delta(62)).unwrap();
        assert_eq!((middle.temporal, middle.layer_sync), (1, true));
        assert_eq!(told(&middle), [NotPresent, Discardable, Switch]);

        // Template ids wrap at 64: 60 + 4 = 0.
        let top = reader.read(&delta(0)).unwrap();
        assert_eq!((top.temporal, top.layer_sync, top.ends_frame), (2, true, true));
        assert_eq!(reader.read(&delta(1)), None, "no such template");
    }

    #[test]
    fn a_layer_whose_frames_rest_on_each_other_has_no_sync_without_a_switch() {
        let chained: [WrittenTemplate; 4] =
            [(0, 0, "SS", &[]), (0, 0, "SS", &[2]), (0, 1, "-R", &[1, 2]), (0, 1, "-D", &[2])];
        let mut reader = DescriptorReader::new();
        reader.read(&key(0, &chained, &[])).unwrap();
        assert!(!reader.read(&delta(2)).unwrap().layer_sync);
        assert!(!reader.read(&delta(3)).unwrap().layer_sync, "it may rest on a required one that was not taken");
    }

    #[test]
    fn tells_the_size_of_each_spatial_layer() {
        let mut reader = DescriptorReader::new();
        let base = reader.read(&key(7, &L2T1_KEY, &[(320, 180), (640, 360)])).unwrap();
        assert_eq!(base.picture_size, Some(PictureSize { width: 320, height: 180 }));
        let upper = reader.read(&delta(9)).unwrap();
        assert_eq!((upper.spatial, upper.keyframe), (1, false));
        assert_eq!(upper.picture_size, Some(PictureSize { width: 640, height: 360 }));
        assert_eq!(told(&upper), [NotPresent, Switch]);
        assert_eq!(told(&reader.read(&delta(10)).unwrap()), [NotPresent, Required]);
    }

    #[test]
    fn a_frame_may_write_out_what_no_template_has() {
        let mut reader = DescriptorReader::new();
        reader.read(&key(0, &L1T3, &[])).unwrap();
        let mut bits = BitWriter::default();
        mandatory(&mut bits, true, true, 2, 3);
        // Active targets, custom indications, references (4, 8 and 12 bits) and chains.
        bits.number(0b01111, 5).number(0b011, 3);
        indications(&mut bits, "-SR");
        bits.number(1, 2).number(0, 4).number(2, 2).number(40, 8).number(3, 2).number(400, 12).number(0, 2);
        bits.number(1, 8);
        let frame = reader.read(&bits.bytes).unwrap();
        assert_eq!(told(&frame), [NotPresent, Switch, Required]);
        assert_eq!((frame.active_decode_targets, frame.temporal), (0b011, 1));
        assert_eq!(reader.read(&delta(1)).unwrap().active_decode_targets, 0b011, "in force until the next change");
        assert_eq!(reader.read(&bits.bytes[..bits.bytes.len() - 1]), None, "cut short");
    }

    #[test]
    fn a_structure_on_a_frame_that_refers_back_is_no_keyframe() {
        let mut bits = BitWriter::default();
        mandatory(&mut bits, true, false, 1, 1);
        bits.number(0b10000, 5);
        write_structure(&mut bits, 0, &L1T3, &[]);
        let mut reader = DescriptorReader::new();
        assert!(!reader.read(&bits.bytes).unwrap().keyframe);
        assert!(reader.read(&delta(2)).is_some(), "its structure counts all the same");
    }

    #[test]
    fn a_structure_cut_short_changes_nothing() {
        let mut reader = DescriptorReader::new();
        reader.read(&key(0, &L1T3, &[(640, 360)])).unwrap();
        let other = key(30, &L2T1_KEY, &[(320, 180), (640, 360)]);
        for len in 0..other.len() {
            assert_eq!(reader.read(&other[..len]), None, "{len} bytes");
            assert_eq!(reader.read(&delta(3)).map(|frame| frame.temporal), Some(2));
        }
        assert!(reader.read(&other).is_some());
        assert_eq!(reader.read(&delta(3)), None, "the old structure is gone");
    }

    #[test]
    fn more_templates_or_layers_than_fit_are_refused() {
        for step in [0, 1, 2] {
            let mut bits = BitWriter::default();
            mandatory(&mut bits, true, false, 0, 1);
            bits.number(0b10000, 5).number(0, 6).number(0, 5);
            for _ in 0..200 {
                bits.number(step, 2);
            }
            bits.number(3, 2).number(0, 32).number(0, 32);
            assert_eq!(DescriptorReader::new().read(&bits.bytes), None, "step {step}");
        }
    }

    #[test]
    fn survives_hostile_input() {
        let seeds = [key(60, &L1T3, &[(640, 360)]), key(0, &L2T1_KEY, &[(320, 180), (640, 360)]), delta(1)];
        let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
        let mut reader = DescriptorReader::new();
        random::for_hostile_inputs(9, &seeds, |input| {
            if let Some(frame) = reader.read(input) {
                assert!((1..=TARGETS_MAX).contains(&frame.decode_targets.len()));
                assert!(usize::from(frame.spatial) < SPATIAL_LAYERS_MAX);
                assert!(usize::from(frame.temporal) < TEMPORAL_LAYERS_MAX);
                assert_eq!(frame.decode_targets.indication(frame.decode_targets.len()), NotPresent);
            }
        });
    }
}

//! Who may enter a locked room: a pure rule.
//!
//! A locked room takes nobody in who is not in it already, also no host who never waits. Two ways lead in all the same, so that no
//! room is shut for good: somebody inside lets a seat in by hand, and whoever could unlock it enters when nobody inside can.

/// What the lock sees of a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Comer {
    /// It was inside when the room was locked, or was let in by hand since, and has not left.
    pub(super) belongs: bool,
    /// Its role may lock and unlock.
    pub(super) has_key: bool,
}

/// Whether the lock keeps a seat outside. `keeper_inside`: somebody who may unlock is in the room.
pub(super) fn keeps_out(locked: bool, comer: Comer, keeper_inside: bool) -> bool {
    let opens_it_itself = comer.has_key && !keeper_inside;
    locked && !comer.belongs && !opens_it_itself
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_room_keeps_out_whoever_does_not_belong() {
        for (locked, belongs, has_key, keeper_inside, outside) in [
            (false, false, false, false, false),
            (false, false, true, true, false),
            (true, true, false, true, false),
            (true, false, false, true, true),
            (true, false, false, false, true),
            (true, false, true, true, true),
            (true, false, true, false, false),
        ] {
            let comer = Comer { belongs, has_key };
            assert_eq!(keeps_out(locked, comer, keeper_inside), outside, "{locked} {comer:?} {keeper_inside}");
        }
    }
}

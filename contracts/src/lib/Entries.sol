// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Packed entries of statements
/// @notice As signed, 14 bytes: `index u32 | units u64 | quality u16` (rule 5.3). As priced, 27 bytes:
/// `index u32 | rank u8 | amount u96 | quality u16 | units u64`.
library Entries {
    uint256 internal constant STATED = 14;
    uint256 internal constant PRICED = 27;

    struct Entry {
        uint256 index;
        uint256 rank;
        uint256 amount;
        uint256 quality;
        uint256 units;
    }

    /// @notice Sums over a statement, and the entry of one rank (all zero if it has none).
    /// @param amounts SA of rule 5.6.
    /// @param weighted W of rule 5.6.
    struct Sums {
        uint256 amounts;
        uint256 weighted;
        Entry own;
    }

    /// @dev Reads past the end give zeros; callers bound `i` by the length.
    function stated(bytes calldata entries, uint256 i)
        internal
        pure
        returns (uint256 index, uint256 units, uint256 quality)
    {
        uint256 word = _word(entries, STATED * i);
        return (word >> 224, uint64(word >> 160), uint16(word >> 144));
    }

    function priced(bytes calldata entries, uint256 i) internal pure returns (Entry memory) {
        return _entry(_word(entries, PRICED * i));
    }

    /// @notice Room for `n` priced entries, to be filled by `put` in order and closed by `close`.
    function room(uint256 n) internal pure returns (bytes memory) {
        // `put` writes whole words: five bytes more than an entry.
        return new bytes(PRICED * n + 5);
    }

    function put(
        bytes memory out,
        uint256 i,
        uint256 index,
        uint256 rank,
        uint256 amount,
        uint256 quality,
        uint256 units
    ) internal pure {
        assembly ("memory-safe") {
            let head := or(shl(224, index), shl(216, rank))
            let word := or(or(head, shl(120, amount)), or(shl(104, quality), shl(40, units)))
            mstore(add(add(out, 32), mul(i, PRICED)), word)
        }
    }

    function close(bytes memory out, uint256 n) internal pure {
        assembly ("memory-safe") {
            mstore(out, mul(n, PRICED))
        }
    }

    function sums(bytes calldata entries, uint256 rank) internal pure returns (Sums memory s) {
        uint256 n = entries.length / PRICED;
        (uint256 amounts, uint256 weighted) = (0, 0);
        // At most 64 amounts of 96 bits and qualities of 14 bits: no sum overflows.
        unchecked {
            for (uint256 i; i < n; ++i) {
                uint256 word = _word(entries, PRICED * i);
                uint256 amount = uint96(word >> 120);
                amounts += amount;
                weighted += amount * uint16(word >> 104);
                if (uint8(word >> 216) == rank) s.own = _entry(word);
            }
        }
        (s.amounts, s.weighted) = (amounts, weighted);
    }

    function _entry(uint256 word) private pure returns (Entry memory) {
        return Entry(word >> 224, uint8(word >> 216), uint96(word >> 120), uint16(word >> 104), uint64(word >> 40));
    }

    function _word(bytes calldata entries, uint256 offset) private pure returns (uint256 word) {
        assembly ("memory-safe") {
            word := calldataload(add(entries.offset, offset))
        }
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Which indices serve a session (rule 4.5)
/// @notice A keyed Feistel permutation of [0, 2^b), walked until it falls below `count`. Since 2^b < 2 * count (but for
/// counts below 3) a walk takes fewer than two steps on average.
/// @dev A round's F is keccak256 of 41 bytes in scratch memory: the seed at 0x00, then one word `r << 248 | x << 184`.
library Selection {
    uint256 private constant ROUNDS = 8;

    error OutOfRange(uint256 value, uint256 count);

    /// @notice The index at `rank`.
    function permute(bytes32 seed, uint256 count, uint256 rank) internal pure returns (uint256 x) {
        if (rank >= count) revert OutOfRange(rank, count);
        if (count == 1) return 0;
        uint256 bits = bitsOf(count);
        uint256 lowBits = bits / 2;
        uint256 highBits = bits - lowBits;
        x = rank;
        assembly ("memory-safe") {
            // Yul's shl takes the shift first, as here.
            // slither-disable-start incorrect-shift
            let lowMask := sub(shl(lowBits, 1), 1)
            let highMask := sub(shl(highBits, 1), 1)
            // slither-disable-end incorrect-shift
            mstore(0x00, seed)
            for {} 1 {} {
                let left := shr(lowBits, x)
                let right := and(x, lowMask)
                for { let r := 0 } lt(r, ROUNDS) { r := add(r, 2) } {
                    mstore(0x20, or(shl(248, r), shl(184, right)))
                    left := xor(left, and(keccak256(0x00, 41), highMask))
                    mstore(0x20, or(shl(248, add(r, 1)), shl(184, left)))
                    right := xor(right, and(keccak256(0x00, 41), lowMask))
                }
                x := or(shl(lowBits, left), right)
                if lt(x, count) { break }
            }
        }
    }

    /// @notice The rank of `index`.
    function inverse(bytes32 seed, uint256 count, uint256 index) internal pure returns (uint256) {
        return inverse(seed, count, bitsOf(count), index);
    }

    /// @notice The rank of `index`, where `bits` is `bitsOf(count)`: for who asks for many.
    function inverse(bytes32 seed, uint256 count, uint256 bits, uint256 index) internal pure returns (uint256 x) {
        if (index >= count) revert OutOfRange(index, count);
        if (count == 1) return 0;
        uint256 lowBits = bits / 2;
        uint256 highBits = bits - lowBits;
        x = index;
        assembly ("memory-safe") {
            // Yul's shl takes the shift first, as here.
            // slither-disable-start incorrect-shift
            let lowMask := sub(shl(lowBits, 1), 1)
            let highMask := sub(shl(highBits, 1), 1)
            // slither-disable-end incorrect-shift
            mstore(0x00, seed)
            for {} 1 {} {
                let left := shr(lowBits, x)
                let right := and(x, lowMask)
                for { let r := ROUNDS } r { r := sub(r, 2) } {
                    mstore(0x20, or(shl(248, sub(r, 1)), shl(184, left)))
                    right := xor(right, and(keccak256(0x00, 41), lowMask))
                    mstore(0x20, or(shl(248, sub(r, 2)), shl(184, right)))
                    left := xor(left, and(keccak256(0x00, 41), highMask))
                }
                x := or(shl(lowBits, left), right)
                if lt(x, count) { break }
            }
        }
    }

    /// @notice b of rule 4.5.
    function bitsOf(uint256 count) internal pure returns (uint256) {
        return count <= 4 ? 2 : Math.log2(count - 1) + 1;
    }
}

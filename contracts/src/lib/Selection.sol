// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";

/// @title Which indices serve a session (rule 4.5)
/// @notice A keyed Feistel permutation of [0, 2^b), walked until it falls below `count`. Since 2^b < 2 * count (but for
/// counts below 3) a walk takes fewer than two steps on average.
library Selection {
    uint256 private constant ROUNDS = 8;

    error OutOfRange(uint256 value, uint256 count);

    /// @notice The index at `rank`.
    function permute(bytes32 seed, uint256 count, uint256 rank) internal pure returns (uint256 x) {
        if (rank >= count) revert OutOfRange(rank, count);
        if (count == 1) return 0;
        (uint256 highBits, uint256 lowBits) = _halves(count);
        x = rank;
        do {
            (uint256 left, uint256 right) = (x >> lowBits, x & ((1 << lowBits) - 1));
            for (uint256 r; r < ROUNDS; r += 2) {
                left ^= _f(seed, r, right) & ((1 << highBits) - 1);
                right ^= _f(seed, r + 1, left) & ((1 << lowBits) - 1);
            }
            x = (left << lowBits) | right;
        } while (x >= count);
    }

    /// @notice The rank of `index`.
    function inverse(bytes32 seed, uint256 count, uint256 index) internal pure returns (uint256 x) {
        if (index >= count) revert OutOfRange(index, count);
        if (count == 1) return 0;
        (uint256 highBits, uint256 lowBits) = _halves(count);
        x = index;
        do {
            (uint256 left, uint256 right) = (x >> lowBits, x & ((1 << lowBits) - 1));
            for (uint256 r = ROUNDS; r > 0; r -= 2) {
                right ^= _f(seed, r - 1, left) & ((1 << lowBits) - 1);
                left ^= _f(seed, r - 2, right) & ((1 << highBits) - 1);
            }
            x = (left << lowBits) | right;
        } while (x >= count);
    }

    function _halves(uint256 count) private pure returns (uint256 high, uint256 low) {
        unchecked {
            uint256 bits = count <= 4 ? 2 : Math.log2(count - 1) + 1;
            low = bits / 2;
            high = bits - low;
        }
    }

    /// @dev keccak256(seed ‖ uint8 r ‖ uint64 x) in scratch memory; nothing is allocated.
    function _f(bytes32 seed, uint256 r, uint256 x) private pure returns (uint256 f) {
        assembly ("memory-safe") {
            mstore(0x00, seed)
            mstore(0x20, or(shl(248, r), shl(184, x)))
            f := keccak256(0x00, 41)
        }
    }
}

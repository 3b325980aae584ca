// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Math} from "@openzeppelin/contracts/utils/math/Math.sol";
import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {IClock} from "./interfaces/IClock.sol";

/// @title Blocks to sessions and windows
/// @dev Every contract that needs it carries its own copy as immutables, taken from Params when it is deployed.
/// All terms are below 2^97, so no sum of them overflows.
abstract contract Clock is IClock {
    uint64 internal immutable ANCHOR;
    uint64 internal immutable LENGTH;
    uint64 internal immutable GRACE;
    uint64 internal immutable STATEMENT;
    uint64 internal immutable CLAIM;
    uint64 internal immutable THAW;

    constructor(Windows memory w) {
        bool positive = w.length > 0 && w.statement > 0 && w.claim > 0;
        if (!positive || w.anchor > block.number || w.thaw <= 2 * uint256(w.length) + w.statement + w.claim) {
            revert BadWindows(w);
        }
        (ANCHOR, LENGTH, GRACE, STATEMENT, CLAIM, THAW) = (w.anchor, w.length, w.grace, w.statement, w.claim, w.thaw);
    }

    /// @inheritdoc IClock
    function windows() public view returns (Windows memory) {
        return Windows(ANCHOR, LENGTH, GRACE, STATEMENT, CLAIM, THAW);
    }

    /// @inheritdoc IClock
    function unsettled() public view returns (uint256) {
        return 1 + Math.ceilDiv(uint256(STATEMENT) + CLAIM, LENGTH);
    }

    /// @inheritdoc IClock
    function numberAt(uint256 blockNumber) public view returns (uint32) {
        if (blockNumber < ANCHOR) revert BeforeAnchor(blockNumber, ANCHOR);
        return SafeCast.toUint32((blockNumber - ANCHOR) / LENGTH);
    }

    /// @inheritdoc IClock
    function startOf(uint32 session) public view returns (uint256) {
        unchecked {
            return ANCHOR + uint256(session) * LENGTH;
        }
    }

    /// @inheritdoc IClock
    function endOf(uint32 session) public view returns (uint256) {
        unchecked {
            return ANCHOR + (uint256(session) + 1) * LENGTH - 1;
        }
    }

    /// @inheritdoc IClock
    function statementsUntil(uint32 session) public view returns (uint256) {
        unchecked {
            return endOf(session) + STATEMENT;
        }
    }

    /// @inheritdoc IClock
    function claimsUntil(uint32 session) public view returns (uint256) {
        unchecked {
            return endOf(session) + STATEMENT + CLAIM;
        }
    }

    function _current() internal view returns (uint32) {
        return numberAt(block.number);
    }

    /// @dev The session that a change made now holds from (rule 4.7).
    function _next() internal view returns (uint32) {
        return numberAt(block.number) + 1;
    }
}

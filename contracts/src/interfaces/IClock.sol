// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Blocks to sessions and windows (rules 4.1 and section 5)
/// @notice All of these are fixed for good: every promise about money rests on them. Units are blocks.
interface IClock {
    struct Windows {
        uint64 anchor; // first block of session 0
        uint64 length; // of a session
        uint64 grace; // blocks after a session's end in which its relays may still finish
        uint64 statement; // S
        uint64 claim; // C
        uint64 thaw; // more than 2 * length + S + C
    }

    error BeforeAnchor(uint256 blockNumber, uint256 anchor);
    error BadWindows(Windows windows);

    function windows() external view returns (Windows memory);

    /// @notice P: how many sessions of an application can be unsettled at once, 1 + ceil((S + C) / length).
    function unsettled() external view returns (uint256);

    /// @notice Number of the session that `blockNumber` lies in.
    function numberAt(uint256 blockNumber) external view returns (uint32);

    /// @notice First block of a session.
    function startOf(uint32 session) external view returns (uint256);

    /// @notice Last block of a session.
    function endOf(uint32 session) external view returns (uint256);

    /// @notice Last block in which a statement of `session` is taken; the first is `endOf(session) + 1`.
    function statementsUntil(uint32 session) external view returns (uint256);

    /// @notice Last block in which a claim on `session` is taken; the first is `statementsUntil(session) + 1`.
    /// @dev Money can be withdrawn from the block after.
    function claimsUntil(uint32 session) external view returns (uint256);
}

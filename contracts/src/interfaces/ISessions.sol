// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "./IRegistry.sol";

/// @title Who serves whom (rules 4.1 to 4.6)
interface ISessions {
    /// @param id keccak256(abi.encode(application, service, number)) (rule 1.5).
    /// @param start first block; `end` is the last.
    /// @param count registrations of the service in this session.
    /// @param covered rule 4.6: the application is in this session.
    /// @param suppliers in rank order, `min(N, count)` of them.
    struct Session {
        bytes32 id;
        address application;
        bytes32 service;
        uint32 number;
        uint64 start;
        uint64 end;
        bytes32 seed;
        uint32 count;
        bool covered;
        IRegistry.Supplier[] suppliers;
    }

    event Poked(uint32 indexed session, bytes32 blockHash);

    /// @notice The block before the session is not mined yet, or left EIP-2935's 8,191 blocks before anyone poked.
    error SeedUnknown(uint32 session);

    /// @notice Everything a daemon needs of a session, in one call. Reverts with SeedUnknown before the session's start.
    /// @dev `covered` is known for the running session and, where the application's escrow has not changed since,
    /// for earlier ones.
    function sessionOf(address application, bytes32 service, uint32 number) external view returns (Session memory);

    /// @notice Keeps the block hash that seeds a session, for as long as anyone needs it. Anyone may, at any time.
    function poke(uint32 number) external returns (bytes32 blockHash);

    /// @notice The hash of the block before a session's first; kept, or from EIP-2935. Reverts with SeedUnknown.
    function blockHashOf(uint32 number) external view returns (bytes32);

    /// @notice keccak256(abi.encode(blockHashOf(number), application, service)) (rule 4.2).
    function seedOf(address application, bytes32 service, uint32 number) external view returns (bytes32);

    /// @notice The index at a rank among `count` (rule 4.5).
    function permute(bytes32 seed, uint256 count, uint256 rank) external pure returns (uint256 index);

    /// @notice The rank of an index: the inverse of `permute`.
    function inverse(bytes32 seed, uint256 count, uint256 index) external pure returns (uint256 rank);
}

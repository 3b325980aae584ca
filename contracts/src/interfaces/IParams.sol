// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IClock} from "./IClock.sol";

/// @title What a deployment may tune, by session (rules 4.7 and section 7)
/// @notice A change is announced longer ahead than thaw + statement + claim windows, so that whoever disagrees
/// can leave with all that is theirs before it holds. Every value is bounded for good.
interface IParams is IClock {
    /// @notice What settlement reads. Shares and qualities are in 1/10,000.
    /// @param suppliers N, most suppliers in a session: 1 to 64.
    /// @param fee f, cut from all pay: at most 1,000.
    /// @param qualityShare b, the part of pay that moves with quality: at most 5,000.
    /// @param qualityMin the lowest quality a statement may give: 1,000 to 10,000.
    /// @param ownerShareMax most of the fee that a service's owner may take: at most 10,000.
    /// @param slashShare what a supplier's fault costs of its bond: at most 10,000.
    struct Rules {
        uint16 suppliers;
        uint16 fee;
        uint16 qualityShare;
        uint16 qualityMin;
        uint16 ownerShareMax;
        uint16 slashShare;
    }

    /// @notice What taking part needs, in base units; each at most `chargeMax`.
    /// @param supplierBond least bond of a registration.
    /// @param gatewayBond least bond of a gateway.
    /// @param serviceFee price of adding a service.
    struct Charges {
        uint96 supplierBond;
        uint96 gatewayBond;
        uint96 serviceFee;
    }

    event Scheduled(uint32 indexed fromSession, Rules rules, Charges charges);
    event TreasuryChanged(address indexed treasury);

    /// @notice A value lies outside its bounds for good.
    error OutOfBounds(string name, uint256 value, uint256 least, uint256 most);
    error ZeroAddress();

    /// @notice Blocks between an announcement and the earliest session boundary it can hold from.
    function delay() external view returns (uint64);

    /// @notice The most that any of `Charges` can ever be, in base units.
    function chargeMax() external view returns (uint96);

    /// @notice Who gets the fee that no service owner gets, slashed supplier bonds and service fees.
    function treasury() external view returns (address);

    function rulesAt(uint32 session) external view returns (Rules memory);

    function chargesAt(uint32 session) external view returns (Charges memory);

    /// @notice `rulesAt(session).suppliers`, for less gas.
    function suppliersAt(uint32 session) external view returns (uint256);

    /// @notice `chargesAt(session).supplierBond`, for less gas.
    function supplierBondAt(uint32 session) external view returns (uint96);

    /// @notice Announces all values anew; they hold from the first session that starts after `block + delay`.
    /// @dev Governance only. A second announcement in the same session replaces the first.
    function schedule(Rules calldata rules, Charges calldata charges) external returns (uint32 fromSession);

    /// @notice Changes where the treasury's part goes, at once. Governance only.
    function setTreasury(address treasury_) external;
}

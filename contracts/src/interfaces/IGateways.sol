// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ITill} from "./ITill.sol";

/// @title Bonds of gateways (rule 5.15)
/// @notice A gateway needs no permission and no bond to be granted; applications and suppliers read the bond and
/// decide. It pays suppliers once more what the gateway's own receipts prove and its statement hides.
interface IGateways is ITill {
    /// @param thawsAt first block in which `thawing` can be withdrawn; 0 if nothing thaws.
    struct Bond {
        uint96 bond;
        uint96 thawing;
        uint64 thawsAt;
    }

    event Bonded(address indexed gateway, address indexed from, uint96 amount);
    event ThawStarted(address indexed gateway, uint96 amount, uint64 thawsAt);
    event ThawCancelled(address indexed gateway, uint96 amount);
    event Unbonded(address indexed gateway, address indexed to, uint96 amount);
    event Slashed(address indexed gateway, uint96 fromBond, uint96 fromThawing);

    error ZeroGateway();
    error BondTooHigh(uint256 bond, uint256 most);
    error MoreThanBonded(uint256 asked, uint256 bonded);
    error NothingThaws(address gateway);
    error StillThawing(uint256 blockNumber, uint256 thawsAt);

    /// @notice Adds to the bond of `gateway`, from the caller.
    function addBond(address gateway, uint96 amount) external;

    /// @notice Starts to take `amount` out of the caller's bond; what thaws already starts anew with it.
    function thaw(uint96 amount) external;

    /// @notice Puts all that thaws back into the bond.
    function cancelThaw() external;

    /// @notice Sends what has thawed to `to`.
    function withdraw(address to) external returns (uint96 amount);

    /// @notice Takes up to `amount`, from the bond first and then from what thaws, into the Escrow. Settlement only.
    function slash(address gateway, uint256 amount) external returns (uint96 taken);

    function bondOf(address gateway) external view returns (Bond memory);

    /// @notice True if the bond (thawing excluded) is at least the param of the running session.
    function isBonded(address gateway) external view returns (bool);
}

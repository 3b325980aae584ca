// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";

/// @title A contract that holds the deployment's token for others
/// @notice A payment that the token refuses (a blocked address, say) is kept for its payee, so that one payee can
/// never stop the payment of another.
interface ITill {
    /// @notice The token refused a payment; one that it takes shows as its own Transfer.
    event Kept(address indexed payee, uint256 amount);
    event Redeemed(address indexed payee, address indexed to, uint256 amount);
    event Bound(address indexed settlement);

    /// @notice The token delivered less (or more) than asked: fee-on-transfer and rebasing tokens are refused.
    error TokenTakesFee(uint256 asked, uint256 received);
    error ZeroAmount();
    error OnlySettlement(address caller);
    error OnlyDeployer(address caller);
    error AlreadyBound(address settlement);
    error NoCode(address account);

    function token() external view returns (IERC20);

    /// @notice The one contract that may move money here by the protocol's rules; set once, locked for good.
    function settlement() external view returns (address);

    /// @notice What a failed payment left for `payee`, in base units.
    function kept(address payee) external view returns (uint256);

    /// @notice Sends what was kept for the caller to `to`.
    function redeem(address to) external returns (uint256 amount);

    /// @notice Names the Settlement contract. Only by the deployer, only once.
    function bind(address settlement_) external;
}

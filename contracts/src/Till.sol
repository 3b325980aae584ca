// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {ITill} from "./interfaces/ITill.sol";

/// @title Till: see ITill
abstract contract Till is ITill, ReentrancyGuardTransient {
    using SafeERC20 for IERC20;

    IERC20 public immutable token;
    address public settlement;
    mapping(address payee => uint256) public kept;

    address private immutable DEPLOYER;

    constructor(IERC20 token_) {
        if (address(token_).code.length == 0) revert NoCode(address(token_));
        (token, DEPLOYER) = (token_, msg.sender);
    }

    modifier onlySettlement() {
        if (msg.sender != settlement) revert OnlySettlement(msg.sender);
        _;
    }

    /// @inheritdoc ITill
    function bind(address settlement_) external {
        if (msg.sender != DEPLOYER) revert OnlyDeployer(msg.sender);
        if (settlement != address(0)) revert AlreadyBound(settlement);
        if (settlement_.code.length == 0) revert NoCode(settlement_);
        settlement = settlement_;
        emit Bound(settlement_);
    }

    /// @inheritdoc ITill
    function redeem(address to) external nonReentrant returns (uint256 amount) {
        amount = kept[msg.sender];
        if (amount == 0) revert ZeroAmount();
        kept[msg.sender] = 0;
        emit Redeemed(msg.sender, to, amount);
        token.safeTransfer(to, amount);
    }

    /// @dev Callers are `nonReentrant`, so nobody can move the balance between the two readings.
    function _pull(uint256 amount) internal {
        if (amount == 0) revert ZeroAmount();
        uint256 before = token.balanceOf(address(this));
        token.safeTransferFrom(msg.sender, address(this), amount);
        uint256 received = token.balanceOf(address(this)) - before;
        if (received != amount) revert TokenTakesFee(amount, received);
    }

    /// @dev For payees who did not ask for it: a refusal must not stop anyone else.
    function _give(address payee, uint256 amount) internal {
        if (amount == 0) return;
        if (token.trySafeTransfer(payee, amount)) return;
        kept[payee] += amount;
        emit Kept(payee, amount);
    }
}

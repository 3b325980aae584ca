// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuardTransient} from "@openzeppelin/contracts/utils/ReentrancyGuardTransient.sol";
import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IGateways} from "../src/interfaces/IGateways.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {ITill} from "../src/interfaces/ITill.sol";
import {Escrow} from "../src/Escrow.sol";
import {Vm} from "./Test.sol";
import {World} from "./World.sol";

/// @dev A token that misbehaves as told.
contract OddToken is ERC20("Odd", "ODD") {
    uint256 public feeOf;
    address public refused;
    bool public saysFalse;
    address public callee;
    bytes public call;
    bool public reentered;
    bytes public reason;

    function mint(address to, uint256 amount) external {
        _mint(to, amount);
    }

    function set(uint256 fee, address refused_, bool saysFalse_) external {
        (feeOf, refused, saysFalse) = (fee, refused_, saysFalse_);
    }

    function reenter(address callee_, bytes calldata call_) external {
        (callee, call) = (callee_, call_);
    }

    function transfer(address to, uint256 amount) public override returns (bool) {
        if (saysFalse) return false;
        return super.transfer(to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) public override returns (bool) {
        if (saysFalse) return false;
        return super.transferFrom(from, to, amount);
    }

    function _update(address from, address to, uint256 amount) internal override {
        require(to != refused || to == address(0), "refused");
        if (callee != address(0)) {
            (bool done, bytes memory why) = callee.call(call);
            (reentered, reason) = (done, why);
        }
        if (from != address(0) && feeOf > 0) {
            super._update(from, address(0xfee), feeOf);
            amount -= feeOf;
        }
        super._update(from, to, amount);
    }
}

contract TokensTest is World {
    OddToken internal odd;

    function setUp() public {
        open();
        odd = new OddToken();
        deploy(IERC20(address(odd)));
        odd.mint(address(this), 1e30);
        odd.approve(address(escrow), type(uint256).max);
        odd.approve(address(registry), type(uint256).max);
        odd.approve(address(gateways), type(uint256).max);
        odd.approve(address(services), type(uint256).max);
        services.add(SERVICE, "evm", "spec", "uri", PRICE, 5_000, 1e15);
        for (uint256 i; i < 3; ++i) {
            registry.register(SERVICE, profile(i), PRICE, BOND, consent(operatorKey(i), address(this), SERVICE));
        }
        escrow.deposit(APPLICATION, 1e20);
        vm.prank(APPLICATION);
        escrow.grant(gateway, SERVICE, CAP, 1_000);
        gateways.addBond(gateway, 1e9);
        goTo(start(1));
    }

    function test_a_token_that_takes_a_fee_is_refused() public {
        odd.set(3, address(0), false);
        vm.expectRevert(abi.encodeWithSelector(ITill.TokenTakesFee.selector, 100, 97));
        escrow.deposit(APPLICATION, 100);
        vm.expectRevert(abi.encodeWithSelector(ITill.TokenTakesFee.selector, 100, 97));
        gateways.addBond(gateway, 100);
        vm.expectRevert(abi.encodeWithSelector(ITill.TokenTakesFee.selector, 100, 97));
        registry.addBond(1, 100);
    }

    function test_a_token_that_returns_false_is_refused() public {
        odd.set(0, address(0), true);
        vm.expectRevert(abi.encodeWithSelector(SafeERC20.SafeERC20FailedOperation.selector, address(odd)));
        escrow.deposit(APPLICATION, 100);
        assertEq(escrow.accountOf(APPLICATION).balance, 1e20, "nothing changed");
    }

    function test_a_token_without_code_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(ITill.NoCode.selector, address(5)));
        new Escrow(params, IERC20(address(5)));
    }

    function stated() internal returns (bytes memory entries) {
        uint32[] memory indices = ascending(1);
        (uint64[] memory units, uint16[] memory qualities) = (new uint64[](3), new uint16[](3));
        for (uint256 i; i < 3; ++i) {
            (units[i], qualities[i]) = (1e9, 10_000);
        }
        entries = priced(1, indices, units, qualities);
        goTo(end(1) + 1);
        post(statement(1, pack(indices, units, qualities)));
        goTo(end(1) + S + C + 1);
    }

    /// @dev One payee that cannot be paid stops nobody, and loses nothing.
    function test_a_refused_payee_is_kept_its_money() public {
        bytes memory entries = stated();
        uint32 id = registry.supplierAt(SERVICE, 1, 0).registration;
        address payee = payeeOf(id - 1);
        odd.set(0, payee, false);
        uint256 paid = settlement.withdraw(id, payRefs(1, rankOf(1, 0), entries));
        assertEq(escrow.kept(payee), paid, "kept");
        vm.prank(payee);
        escrow.redeem(address(0xd0));
        assertEq(odd.balanceOf(address(0xd0)), paid, "redeemed elsewhere");
        vm.prank(payee);
        vm.expectRevert(abi.encodeWithSelector(ITill.ZeroAmount.selector));
        escrow.redeem(address(0xd0));
        odd.set(0, TREASURY, false);
        uint256 fee = settlement.collect(potRefs(1, entries));
        assertTrue(odd.balanceOf(address(this)) > 0 && escrow.kept(TREASURY) == fee - fee / 2, "owner is paid");
    }

    function test_nothing_can_be_entered_again() public {
        bytes memory entries = stated();
        uint32 id = registry.supplierAt(SERVICE, 1, 0).registration;
        ISettlement.PayRef[] memory refs = payRefs(1, rankOf(1, 0), entries);
        odd.reenter(address(settlement), abi.encodeCall(settlement.withdraw, (id, refs)));
        settlement.withdraw(id, refs);
        assertTrue(!odd.reentered(), "withdraw");
        bytes32 guard = bytes32(ReentrancyGuardTransient.ReentrancyGuardReentrantCall.selector);
        assertEq(bytes32(bytes4(odd.reason())), guard, "by the guard");
        odd.reenter(address(escrow), abi.encodeCall(escrow.deposit, (APPLICATION, 1)));
        escrow.deposit(APPLICATION, 100);
        assertTrue(!odd.reentered(), "deposit");
        odd.reenter(address(registry), abi.encodeCall(registry.addBond, (1, 1)));
        registry.addBond(1, 5);
        assertTrue(!odd.reentered(), "bond");
        odd.reenter(address(gateways), abi.encodeCall(gateways.addBond, (gateway, 1)));
        gateways.addBond(gateway, 5);
        assertTrue(!odd.reentered(), "gateway bond");
    }
}

/// @dev Every balance again, from nothing but logs.
contract LogsTest is World {
    mapping(address => uint256) internal balanceOf;
    mapping(address => uint256) internal thawingOf;
    mapping(uint32 => uint256) internal bondOf;
    mapping(uint32 => uint256) internal bondThawingOf;
    mapping(address => uint256) internal gatewayBondOf;
    mapping(address => uint256) internal gatewayThawingOf;
    uint256 internal pots;

    function test_balances_rebuild_from_logs() public {
        vm.recordLogs();
        open();
        registerMany(3);
        registry.addBond(2, 500);
        vm.prank(ownerOf(2));
        registry.thaw(3, 77);
        vm.prank(gateway);
        gateways.thaw(1_000);
        vm.prank(APPLICATION);
        escrow.thaw(1e20 - 1_000);
        goTo(start(1));
        uint32 index = ascending(1)[0];
        goTo(end(1) + 1);
        post(statement(1, abi.encodePacked(index, uint64(1e9), uint16(9_000))));
        bytes memory entries =
            abi.encodePacked(index, rankOf(1, index), uint96(uint256(1e9) * PRICE / 1e6), uint16(9_000), uint64(1e9));
        goTo(end(1) + S + 1);
        address operator = registry.supplierAt(SERVICE, 1, index).operator;
        settlement.claim(potKey(1), index, entries, one(lane(1, operator, "l", 2e9, 0)), none());
        goTo(end(1) + S + C + 1);
        uint32 id = registry.supplierAt(SERVICE, 1, index).registration;
        settlement.withdraw(id, payRefs(1, rankOf(1, index), entries));
        settlement.collect(potRefs(1, entries));
        goTo(block.number + THAW);
        vm.prank(APPLICATION);
        escrow.cancelThaw();
        vm.prank(ownerOf(2));
        registry.withdraw(3, address(7));
        _replay(vm.getRecordedLogs());
        assertEq(balanceOf[APPLICATION], escrow.accountOf(APPLICATION).balance, "balance");
        assertEq(thawingOf[APPLICATION], escrow.accountOf(APPLICATION).thawing, "thawing");
        for (uint32 i = 1; i <= 3; ++i) {
            assertEq(bondOf[i], registry.registrationOf(i).bond, "bond");
            assertEq(bondThawingOf[i], registry.registrationOf(i).thawing, "thawing bond");
        }
        assertEq(gatewayBondOf[gateway], gateways.bondOf(gateway).bond, "gateway bond");
        assertEq(gatewayThawingOf[gateway], gateways.bondOf(gateway).thawing, "thawing gateway bond");
        assertEq(pots, 0, "all of the pot is paid");
        assertEq(
            token.balanceOf(address(escrow)), balanceOf[APPLICATION] + thawingOf[APPLICATION] + pots, "escrow's tokens"
        );
    }

    function _replay(Vm.Log[] memory logs) internal {
        for (uint256 i; i < logs.length; ++i) {
            Vm.Log memory l = logs[i];
            if (l.emitter == address(escrow)) _escrow(l);
            else if (l.emitter == address(registry)) _registry(l);
            else if (l.emitter == address(gateways)) _gateways(l);
            else if (l.emitter == address(settlement)) _settlement(l);
        }
    }

    function _escrow(Vm.Log memory l) internal {
        address who = l.topics.length > 1 ? address(uint160(uint256(l.topics[1]))) : address(0);
        bytes32 kind = l.topics[0];
        if (kind == IEscrow.Deposited.selector) balanceOf[who] += abi.decode(l.data, (uint256));
        if (kind == IEscrow.ThawStarted.selector) {
            (uint256 amount,) = abi.decode(l.data, (uint256, uint256));
            balanceOf[who] -= amount;
            thawingOf[who] += amount;
        }
        if (kind == IEscrow.ThawCancelled.selector) {
            uint256 amount = abi.decode(l.data, (uint256));
            thawingOf[who] -= amount;
            balanceOf[who] += amount;
        }
        if (kind == IEscrow.Withdrawn.selector) thawingOf[who] -= abi.decode(l.data, (uint256));
        if (kind == IEscrow.Taken.selector) {
            (uint256 a, uint256 b) = abi.decode(l.data, (uint256, uint256));
            balanceOf[who] -= a;
            thawingOf[who] -= b;
            pots += a + b;
        }
    }

    function _registry(Vm.Log memory l) internal {
        bytes32 kind = l.topics[0];
        if (l.topics.length < 2) return;
        uint32 id = uint32(uint256(l.topics[1]));
        if (kind == IRegistry.Registered.selector) {
            (,,, uint96 bond) = abi.decode(l.data, (address, uint64, address, uint96));
            bondOf[id] += bond;
        }
        if (kind == IRegistry.Bonded.selector) bondOf[id] += abi.decode(l.data, (uint256));
        if (kind == IRegistry.ThawStarted.selector) {
            (uint256 amount,) = abi.decode(l.data, (uint256, uint256));
            bondOf[id] -= amount;
            bondThawingOf[id] += amount;
        }
        if (kind == IRegistry.Unbonded.selector) bondThawingOf[id] -= abi.decode(l.data, (uint256));
    }

    function _gateways(Vm.Log memory l) internal {
        bytes32 kind = l.topics[0];
        if (l.topics.length < 2) return;
        address who = address(uint160(uint256(l.topics[1])));
        if (kind == IGateways.Bonded.selector) gatewayBondOf[who] += abi.decode(l.data, (uint256));
        if (kind == IGateways.ThawStarted.selector) {
            (uint256 amount,) = abi.decode(l.data, (uint256, uint256));
            gatewayBondOf[who] -= amount;
            gatewayThawingOf[who] += amount;
        }
        if (kind == IGateways.Slashed.selector) {
            (uint256 a, uint256 b) = abi.decode(l.data, (uint256, uint256));
            gatewayBondOf[who] -= a;
            gatewayThawingOf[who] -= b;
            pots += a + b;
        }
    }

    function _settlement(Vm.Log memory l) internal {
        bytes32 kind = l.topics[0];
        if (kind == ISettlement.Withdrawn.selector) {
            (, uint256 amount) = abi.decode(l.data, (uint8, uint256));
            pots -= amount;
        }
        if (kind == ISettlement.Collected.selector) {
            (, uint256 a, uint256 b) = abi.decode(l.data, (address, uint256, uint256));
            pots -= a + b;
        }
    }
}

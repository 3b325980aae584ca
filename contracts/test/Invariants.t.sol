// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IGateways} from "../src/interfaces/IGateways.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {ISessions} from "../src/interfaces/ISessions.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {World} from "./World.sol";

/// @dev Everyone at once: applications, suppliers, gateways, strangers; a gateway that understates, overstates and signs
/// for its own suppliers, and suppliers that claim more than they may. What fails on purpose is caught; what must never
/// happen is counted.
contract Actors is World {
    uint256 internal constant APPLICATIONS = 2;
    uint256 internal constant SUPPLIERS = 6;

    ISettlement.PotKey[] internal _keys;
    mapping(bytes32 pot => bytes) internal _priced;
    mapping(bytes32 pot => bool) internal _known;
    mapping(bytes32 pot => bytes32) internal _seeds;
    mapping(bytes32 pot => uint256) public paidOut;
    mapping(bytes32 pot => uint256) public cap;
    mapping(bytes32 => bool) internal _paidOnce;

    uint256 public calls;
    uint256 public statements;
    uint256 public claims;
    uint256 public withdrawals;
    uint256 public faults;
    uint256 public forbidden;
    uint256 public debits;
    uint256 public amountsOwed;

    constructor() {
        open();
        for (uint256 i; i < SUPPLIERS; ++i) {
            register(i, BOND * 3, PRICE);
        }
        for (uint256 i; i < APPLICATIONS; ++i) {
            fund(applicationOf(i), 1e30);
            vm.startPrank(applicationOf(i));
            escrow.deposit(applicationOf(i), 1e10);
            escrow.grant(gateway, SERVICE, 2e9, type(uint32).max);
            vm.stopPrank();
        }
        fund(gateway, 1e30);
        vm.roll(start(1));
    }

    function all() external view returns (address, address, address, address, address, uint256) {
        return (address(token), address(escrow), address(registry), address(gateways), gateway, _keys.length);
    }

    function contracts() external view returns (IEscrow, IRegistry, IGateways, ISettlement) {
        return (escrow, registry, gateways, settlement);
    }

    function applicationOf(uint256 i) public pure returns (address) {
        return address(uint160(0xaa0000 + i % APPLICATIONS));
    }

    function baseApplication() external pure returns (address) {
        return APPLICATION;
    }

    function potAt(uint256 i) external view returns (bytes32) {
        return settlement.potId(_keys[i]);
    }

    function held() external view returns (uint256) {
        return token.balanceOf(address(escrow)) + token.balanceOf(address(registry)) + token.balanceOf(address(gateways));
    }

    function escrowHeld() external view returns (uint256) {
        return token.balanceOf(address(escrow));
    }

    function registryHeld() external view returns (uint256) {
        return token.balanceOf(address(registry));
    }

    function gatewaysHeld() external view returns (uint256) {
        return token.balanceOf(address(gateways));
    }

    // --- time ---

    function pass(uint256 blocks) external {
        ++calls;
        // Mostly to somewhere in a window that matters; now and then past a thaw.
        uint256 step = blocks % 11 == 0 ? 70 : blocks % 9;
        vm.roll(block.number + step);
    }

    // --- applications ---

    function deposit(uint256 who, uint256 amount) external {
        ++calls;
        vm.prank(applicationOf(who % APPLICATIONS + 1));
        escrow.deposit(applicationOf(who), uint112(bound(amount, 1, 1e10)));
    }

    function thawEscrow(uint256 who, uint256 amount) external {
        ++calls;
        uint112 balance = escrow.accountOf(applicationOf(who)).balance;
        if (balance == 0) return;
        vm.prank(applicationOf(who));
        escrow.thaw(uint112(bound(amount, 1, balance)));
    }

    function cancelEscrowThaw(uint256 who) external {
        ++calls;
        if (escrow.accountOf(applicationOf(who)).thawing == 0) return;
        vm.prank(applicationOf(who));
        escrow.cancelThaw();
    }

    function withdrawEscrow(uint256 who) external {
        ++calls;
        address application = applicationOf(who);
        IEscrow.Account memory a = escrow.accountOf(application);
        if (a.thawing == 0 || block.number < a.thawsAt) return;
        vm.prank(application);
        if (escrow.withdraw(application) != a.thawing) ++forbidden;
    }

    function grant(uint256 who, uint256 amount, uint256 sessions_) external {
        ++calls;
        uint32 next = uint32((block.number - anchor) / LENGTH) + 1;
        vm.prank(applicationOf(who));
        escrow.grant(gateway, SERVICE, uint96(bound(amount, 0, 4e9)), next + uint32(sessions_ % 50));
    }

    // --- suppliers and gateway bonds ---

    function thawBond(uint256 who, uint256 amount) external {
        ++calls;
        uint32 id = uint32(1 + who % SUPPLIERS);
        uint96 bond = registry.registrationOf(id).bond;
        if (bond == 0) return;
        vm.prank(ownerOf(id - 1));
        registry.thaw(id, uint96(bound(amount, 1, bond)));
    }

    function rejoin(uint256 who) external {
        ++calls;
        uint32 id = uint32(1 + who % SUPPLIERS);
        IRegistry.Registration memory r = registry.registrationOf(id);
        vm.startPrank(ownerOf(id - 1));
        if (r.thawing > 0) registry.cancelThaw(id);
        else if (!r.listed && r.bond >= BOND) registry.join(id);
        else if (r.bond < BOND) registry.addBond(id, BOND);
        vm.stopPrank();
    }

    function withdrawBond(uint256 who) external {
        ++calls;
        uint32 id = uint32(1 + who % SUPPLIERS);
        IRegistry.Registration memory r = registry.registrationOf(id);
        if (r.thawing == 0 || block.number < r.thawsAt) return;
        vm.prank(ownerOf(id - 1));
        if (registry.withdraw(id, ownerOf(id - 1)) != r.thawing) ++forbidden;
    }

    function reprice(uint256 who, uint256 price) external {
        ++calls;
        uint32 id = uint32(1 + who % SUPPLIERS);
        vm.prank(ownerOf(id - 1));
        registry.setPrice(id, uint64(bound(price, 0, PRICE)));
    }

    function moveGatewayBond(uint256 kind, uint256 amount) external {
        ++calls;
        IGateways.Bond memory b = gateways.bondOf(gateway);
        vm.startPrank(gateway);
        if (kind % 4 == 0) gateways.addBond(gateway, uint96(bound(amount, 1, 1e10)));
        else if (kind % 4 == 1 && b.bond > 0) gateways.thaw(uint96(bound(amount, 1, b.bond)));
        else if (kind % 4 == 2 && b.thawing > 0) gateways.cancelThaw();
        else if (b.thawing > 0 && block.number >= b.thawsAt) gateways.withdraw(gateway);
        vm.stopPrank();
    }

    function equivocate(uint256 who, bytes32 nonce) external {
        ++calls;
        uint256 i = who % SUPPLIERS;
        uint32 session = uint32((block.number - anchor) / LENGTH);
        bytes32 sid = keccak256(abi.encode(APPLICATION, SERVICE, session));
        ISettlement.Receipt memory r =
            ISettlement.Receipt(sid, vm.addr(operatorKey(i)), nonce, 1, 0, 10, "request");
        bytes32 digest = settlement.receiptDigest(r);
        ISettlement.Response memory a = ISettlement.Response(digest, "a", 1, 1, 1, "b");
        ISettlement.Response memory b = ISettlement.Response(digest, "b", 1, 1, 1, "b");
        bytes memory sa = signature(operatorKey(i), settlement.responseDigest(a));
        bytes memory sb = signature(operatorKey(i), settlement.responseDigest(b));
        try settlement.reportEquivocation(APPLICATION, SERVICE, session, r, a, sa, b, sb) {} catch {}
    }

    // --- settlement ---

    /// @dev A session whose statement window is open, if any: one in S of LENGTH blocks; else goes there.
    function _toStatements() internal returns (uint32 session) {
        session = uint32((block.number - anchor) / LENGTH);
        uint256 into = (block.number - anchor) % LENGTH;
        if (session > 0 && into < S) return session - 1;
        vm.roll(start(session + 1) + block.number % S);
    }

    /// @dev The adversarial gateway: any units and qualities, above the cap as well.
    function state(uint256 who, uint256 seed) external {
        ++calls;
        uint32 session = _toStatements();
        address application = applicationOf(who);
        ISettlement.PotKey memory key = ISettlement.PotKey(application, SERVICE, session, gateway);
        bytes32 id = settlement.potId(key);
        uint32 count = registry.countAt(SERVICE, session);
        bytes32 hash = sessions.seedOf(application, SERVICE, session);
        (bytes memory entries, bytes memory priced_, uint256 sum) = (bytes(""), bytes(""), 0);
        for (uint32 index; index < count; ++index) {
            seed = uint256(keccak256(abi.encode(seed, index)));
            if (seed % 3 == 0) continue;
            uint64 units = uint64(1 + seed % 5e8);
            uint16 quality = uint16(5_000 + (seed >> 64) % 5_001);
            uint96 amount = uint96(uint256(units) * registry.supplierAt(SERVICE, session, index).price / 1e6);
            sum += amount;
            uint8 rank = uint8(sessions.inverse(hash, count, index));
            entries = abi.encodePacked(entries, index, units, quality);
            priced_ = abi.encodePacked(priced_, index, rank, amount, quality, units);
        }
        ISettlement.Statement memory s = ISettlement.Statement(application, SERVICE, session, entries, "relays");
        bytes memory sig = signature(GATEWAY_KEY, settlement.statementDigest(s));
        uint256 before = _money(application);
        bool first = settlement.potOf(id).commit == 0;
        try settlement.postStatement(s, gateway, sig) returns (uint256 taken) {
            if (!first || sum > escrow.capAt(application, gateway, SERVICE, session)) ++forbidden;
            if (before - _money(application) != taken) ++forbidden;
            // Rule 5.11: a function of amounts and money, and nothing else.
            if (taken != (sum < before ? sum : before)) ++forbidden;
            ++statements;
            debits += taken;
            _priced[id] = priced_;
            _remember(id, key);
        } catch {}
    }

    /// @dev A supplier's claim, sometimes with a lane that another supplier's receipt pays.
    function claim(uint256 which, uint256 who, uint256 units, bool honest) external {
        ++calls;
        uint32 session = uint32((block.number - anchor) / LENGTH);
        uint256 into = (block.number - anchor) % LENGTH;
        if (session == 0 || into < S || into >= S + C) {
            if (into >= S) ++session;
            vm.roll(start(session == 0 ? 1 : session) + S + block.number % C);
            session = uint32((block.number - anchor) / LENGTH);
        }
        --session;
        address application = applicationOf(which);
        ISettlement.PotKey memory key = ISettlement.PotKey(application, SERVICE, session, gateway);
        uint32 count = registry.countAt(SERVICE, session);
        if (count == 0) return;
        _claim(key, uint32(who % count), uint128(bound(units, 1, 2e9)), honest);
    }

    function _claim(ISettlement.PotKey memory key, uint32 index, uint128 units, bool honest) internal {
        bytes32 id = settlement.potId(key);
        address operator = registry.supplierAt(SERVICE, key.session, index).operator;
        address named = honest ? operator : vm.addr(operatorKey(99));
        bytes32 sid = keccak256(abi.encode(key.application, key.service, key.session));
        bytes32 digest =
            settlement.receiptDigest(ISettlement.Receipt(sid, named, "lane", 1, units, 0, bytes32(0)));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(GATEWAY_KEY, digest);
        ISettlement.LaneReceipt memory l = ISettlement.LaneReceipt("lane", 1, units, 0, bytes32(0), v, r, s);
        uint256 before = _money(key.application);
        uint96 bond = gateways.bondOf(gateway).bond + gateways.bondOf(gateway).thawing;
        try settlement.claim(key, index, _priced[id], one(l), none()) {
            // The registered supplier is the only one whom a gateway's signature can pay.
            if (!honest) ++forbidden;
            ++claims;
            debits += before - _money(key.application);
            _remember(id, key);
            IGateways.Bond memory b = gateways.bondOf(gateway);
            if (b.bond + b.thawing < bond) {
                ++faults;
                amountsOwed += bond - b.bond - b.thawing;
            }
        } catch {}
    }

    function withdraw(uint256 which, uint256 rank_) external {
        ++calls;
        if (_keys.length == 0) return;
        ISettlement.PotKey memory key = _keys[which % _keys.length];
        uint256 opens = end(key.session) + S + C + 1;
        if (block.number < opens) vm.roll(opens);
        _withdraw(key, uint8(rank_ % SUPPLIERS));
    }

    function _withdraw(ISettlement.PotKey memory key, uint8 rank) internal {
        bytes32 id = settlement.potId(key);
        uint32 count = registry.countAt(SERVICE, key.session);
        if (rank >= count) return;
        uint32 index = uint32(sessions.permute(_seeds[id], count, rank));
        uint32 registration = registry.supplierAt(SERVICE, key.session, index).registration;
        ISettlement.PayRef[] memory refs = new ISettlement.PayRef[](1);
        refs[0] = ISettlement.PayRef(key, rank, _priced[id]);
        uint256 before = token.balanceOf(address(escrow));
        uint256 compensation = settlement.compensationOf(id, rank);
        try settlement.withdraw(registration, refs) returns (uint256 paid) {
            bytes32 once = keccak256(abi.encode(id, rank));
            if (_paidOnce[once]) ++forbidden;
            _paidOnce[once] = true;
            if (before - token.balanceOf(address(escrow)) != paid) ++forbidden;
            paidOut[id] += paid - compensation;
            debits -= paid - compensation;
            amountsOwed -= compensation;
            ++withdrawals;
        } catch {}
    }

    function collect(uint256 which) external {
        ++calls;
        if (_keys.length == 0) return;
        ISettlement.PotKey memory key = _keys[which % _keys.length];
        uint256 opens = end(key.session) + S + C + 1;
        if (block.number < opens) vm.roll(opens);
        _collect(key);
    }

    function _collect(ISettlement.PotKey memory key) internal {
        bytes32 id = settlement.potId(key);
        ISettlement.PotRef[] memory refs = new ISettlement.PotRef[](1);
        refs[0] = ISettlement.PotRef(key, _priced[id]);
        bool before = settlement.potOf(id).collected;
        try settlement.collect(refs) returns (uint256 paid) {
            if (before) ++forbidden;
            paidOut[id] += paid;
            debits -= paid;
        } catch {
            // No sequence locks a fee for good.
            if (!before) ++forbidden;
        }
    }

    /// @dev Everything can leave: pots by withdrawal and collection, escrows and bonds by thaw.
    function drain() external {
        vm.roll(block.number + 1_000);
        for (uint256 i; i < _keys.length; ++i) {
            for (uint8 rank; rank < SUPPLIERS; ++rank) {
                _withdraw(_keys[i], rank);
            }
            _collect(_keys[i]);
        }
        for (uint256 i; i < APPLICATIONS; ++i) {
            _leaveEscrow(applicationOf(i));
        }
        _leaveEscrow(APPLICATION);
        for (uint32 id = 1; id <= SUPPLIERS; ++id) {
            vm.startPrank(ownerOf(id - 1));
            if (registry.registrationOf(id).bond > 0) registry.thawAll(id);
            vm.roll(block.number + THAW);
            if (registry.registrationOf(id).thawing > 0) registry.withdraw(id, ownerOf(id - 1));
            vm.stopPrank();
        }
        vm.startPrank(gateway);
        if (gateways.bondOf(gateway).bond > 0) gateways.thaw(gateways.bondOf(gateway).bond);
        vm.roll(block.number + THAW);
        if (gateways.bondOf(gateway).thawing > 0) gateways.withdraw(gateway);
        vm.stopPrank();
    }

    function _leaveEscrow(address application) internal {
        vm.startPrank(application);
        if (escrow.accountOf(application).balance > 0) escrow.thaw(escrow.accountOf(application).balance);
        vm.roll(block.number + THAW);
        if (escrow.accountOf(application).thawing > 0) escrow.withdraw(application);
        vm.stopPrank();
    }

    function _money(address application) internal view returns (uint256) {
        IEscrow.Account memory a = escrow.accountOf(application);
        return uint256(a.balance) + a.thawing;
    }

    function _remember(bytes32 id, ISettlement.PotKey memory key) internal {
        cap[id] = escrow.capAt(key.application, gateway, SERVICE, key.session);
        if (_known[id]) return;
        _known[id] = true;
        // Withdrawing needs no seed; finding the index of a rank in old sessions does.
        _seeds[id] = sessions.seedOf(key.application, SERVICE, key.session);
        _keys.push(key);
    }
}

contract InvariantsTest is World {
    struct FuzzSelector {
        address addr;
        bytes4[] selectors;
    }

    Actors internal actors;

    function setUp() public {
        actors = new Actors();
    }

    function targetContracts() public view returns (address[] memory list) {
        list = new address[](1);
        list[0] = address(actors);
    }

    function targetSelectors() public view returns (FuzzSelector[] memory list) {
        bytes4[] memory s = new bytes4[](16);
        (s[0], s[1], s[2], s[3]) = (
            Actors.pass.selector, Actors.deposit.selector, Actors.thawEscrow.selector, Actors.cancelEscrowThaw.selector
        );
        (s[4], s[5], s[6], s[7]) = (
            Actors.withdrawEscrow.selector, Actors.grant.selector, Actors.thawBond.selector, Actors.rejoin.selector
        );
        (s[8], s[9], s[10], s[11]) = (
            Actors.withdrawBond.selector,
            Actors.reprice.selector,
            Actors.moveGatewayBond.selector,
            Actors.equivocate.selector
        );
        (s[12], s[13], s[14], s[15]) =
            (Actors.state.selector, Actors.claim.selector, Actors.withdraw.selector, Actors.collect.selector);
        list = new FuzzSelector[](1);
        list[0] = FuzzSelector(address(actors), s);
    }

    /// @dev Tokens held are escrows, thawing money, bonds and what pots still owe, to the base unit.
    function invariant_money_adds_up_and_nothing_forbidden_happens() public view {
        assertEq(actors.forbidden(), 0, "forbidden");
        (IEscrow e, IRegistry r, IGateways g,) = actors.contracts();
        uint256 escrows = _account(e, actors.baseApplication());
        for (uint256 i; i < 2; ++i) {
            escrows += _account(e, actors.applicationOf(i));
        }
        assertEq(actors.escrowHeld(), escrows + actors.debits() + actors.amountsOwed(), "escrow");
        uint256 bonds;
        for (uint32 id = 1; id <= 6; ++id) {
            IRegistry.Registration memory x = r.registrationOf(id);
            bonds += uint256(x.bond) + x.thawing;
        }
        assertEq(actors.registryHeld(), bonds, "registry");
        (,,,, address gw,) = actors.all();
        IGateways.Bond memory b = g.bondOf(gw);
        assertEq(actors.gatewaysHeld(), uint256(b.bond) + b.thawing, "gateways");
    }

    /// @dev A session never costs more than its cap, and a pot never pays more than it took; then everyone leaves, and
    /// nothing stays behind.
    function afterInvariant() public {
        (,,, ISettlement s) = actors.contracts();
        (,,,,, uint256 pots) = actors.all();
        for (uint256 i; i < pots; ++i) {
            bytes32 id = actors.potAt(i);
            assertLe(s.potOf(id).taken, actors.cap(id), "cap");
            assertLe(actors.paidOut(id), s.potOf(id).taken, "paid at most what was taken");
        }
        actors.drain();
        assertEq(actors.forbidden(), 0, "forbidden while leaving");
        assertEq(actors.held(), 0, "nothing is locked");
    }

    /// @dev What the fuzzer can reach, drawn here: the invariants would hold of handlers that do nothing as well.
    function test_the_handlers_reach_everything() public {
        bytes4[] memory s = targetSelectors()[0].selectors;
        for (uint256 i; i < 1_500; ++i) {
            bytes32 a = keccak256(abi.encode(i));
            bytes32 b = keccak256(abi.encode(a));
            bytes32 c = keccak256(abi.encode(b));
            // Statements and claims twice as often as the rest.
            bytes4 what = s[i % 3 == 0 ? 12 + uint256(c) % 2 : uint256(c) % 16];
            (bool done,) = address(actors).call(abi.encodeWithSelector(what, a, b, c, uint256(c >> 8) % 4 > 0));
            assertTrue(done, "a handler fails");
        }
        assertLe(50, actors.statements(), "statements");
        assertLe(30, actors.claims(), "claims");
        assertLe(20, actors.withdrawals(), "withdrawals");
        assertLe(3, actors.faults(), "faults");
        invariant_money_adds_up_and_nothing_forbidden_happens();
        afterInvariant();
    }

    function _account(IEscrow e, address application) internal view returns (uint256) {
        IEscrow.Account memory a = e.accountOf(application);
        return uint256(a.balance) + a.thawing;
    }
}

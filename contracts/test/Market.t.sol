// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IEscrow} from "../src/interfaces/IEscrow.sol";
import {IGateways} from "../src/interfaces/IGateways.sol";
import {IParams} from "../src/interfaces/IParams.sol";
import {IClock} from "../src/interfaces/IClock.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {IServices} from "../src/interfaces/IServices.sol";
import {ITill} from "../src/interfaces/ITill.sol";
import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Params} from "../src/Params.sol";
import {Gateways} from "../src/Gateways.sol";
import {Escrow} from "../src/Escrow.sol";
import {World} from "./World.sol";

contract MarketTest is World {
    function setUp() public {
        open();
    }

    // --- services ---

    function add(bytes32 id, uint96 limit) internal returns (uint32) {
        return services.add(id, "openai", "spec", "https://spec", 1e9, 100, limit);
    }

    function test_adding_a_service_costs_the_fee_and_makes_its_owner() public {
        uint256 before = token.balanceOf(TREASURY);
        assertEq(add("a.b_c-9", 100e6), 1, "number");
        assertEq(token.balanceOf(TREASURY) - before, 100e6, "fee");
        goTo(start(1));
        IServices.Service memory s = services.serviceOf("a.b_c-9");
        assertEq(s.owner, address(this), "owner");
        assertEq(s.maxPrice, 1e9, "price");
        assertEq(s.ownerShare, 100, "share");
        assertEq(s.kind, bytes32("openai"), "kind");
        assertEq(services.count(), 2, "count");
        assertEq(services.idOf(1), bytes32("a.b_c-9"), "id");
    }

    function test_bad_services_are_named() public {
        bytes32[6] memory bad = [bytes32(0), "A", "a b", "a/b", bytes32(hex"0061"), bytes32(hex"61006200")];
        for (uint256 i; i < bad.length; ++i) {
            vm.expectRevert(abi.encodeWithSelector(IServices.BadServiceId.selector, bad[i]));
            add(bad[i], 1e9);
        }
        add("abcdefghijklmnopqrstuvwxyz012345", 1e9);
        vm.expectRevert(abi.encodeWithSelector(IServices.ServiceExists.selector, SERVICE));
        add(SERVICE, 1e9);
        vm.expectRevert(abi.encodeWithSelector(IServices.FeeAboveLimit.selector, 100e6, 1));
        add("x", 1);
        vm.expectRevert(abi.encodeWithSelector(IServices.OwnerShareTooHigh.selector, 5_001, 5_000));
        services.add("x", "k", "s", "u", 1, 5_001, 1e9);
        vm.expectRevert(abi.encodeWithSelector(IServices.UriTooLong.selector, 513, 512));
        services.add("x", "k", "s", string(new bytes(513)), 1, 1, 1e9);
        vm.expectRevert(abi.encodeWithSelector(IServices.NoService.selector, bytes32("x")));
        services.serviceOf("x");
        vm.expectRevert(abi.encodeWithSelector(IServices.NoService.selector, bytes32("x")));
        services.ownerOf("x");
        vm.expectRevert(abi.encodeWithSelector(IServices.NotServiceOwner.selector, SERVICE, address(this), OWNER));
        services.setTerms(SERVICE, 1, 1);
    }

    function test_a_service_changes_at_the_boundary_and_hands_over_in_two_steps() public {
        goTo(start(1) + 3);
        vm.startPrank(OWNER);
        services.setTerms(SERVICE, 77, 9);
        services.setSpec(SERVICE, "new", "uri");
        services.proposeOwner(SERVICE, address(0xbe));
        vm.stopPrank();
        assertEq(services.serviceOf(SERVICE).maxPrice, PRICE, "still");
        assertEq(services.serviceOf(SERVICE).specHash, bytes32("new"), "spec");
        goTo(start(2));
        assertEq(services.serviceOf(SERVICE).maxPrice, 77, "now");
        (, uint64 old,) = services.termsAt(SERVICE, 1);
        assertEq(old, PRICE, "history");
        vm.expectRevert(
            abi.encodeWithSelector(IServices.NotServiceOwner.selector, SERVICE, address(this), address(0xbe))
        );
        services.acceptOwner(SERVICE);
        vm.prank(address(0xbe));
        services.acceptOwner(SERVICE);
        assertEq(services.ownerOf(SERVICE), address(0xbe), "owner");
    }

    // --- registrations ---

    function test_registrations_fill_indices_without_gaps_from_the_next_session_on() public {
        registerMany(5);
        assertEq(registry.countAt(SERVICE, 0), 0, "not in the running session");
        assertEq(registry.countAt(SERVICE, 1), 5, "in the next");
        goTo(start(1));
        vm.prank(ownerOf(1));
        registry.thawAll(2);
        assertEq(registry.countAt(SERVICE, 1), 5, "no change inside a session");
        assertEq(registry.countAt(SERVICE, 2), 4, "gone at the boundary");
        assertEq(registry.supplierAt(SERVICE, 1, 1).registration, 2, "then");
        assertEq(registry.supplierAt(SERVICE, 2, 1).registration, 5, "the last takes the index");
        assertEq(registry.registrationOf(5).index, 1, "and knows it");
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NoSuchIndex.selector, 4, 4));
        registry.supplierAt(SERVICE, 2, 4);
        vm.prank(ownerOf(1));
        registry.cancelThaw(2);
        assertEq(registry.supplierAt(SERVICE, 2, 4).registration, 2, "back at the end");
        assertTrue(registry.registrationOf(2).thawsAt == 0, "thaw cancelled");
    }

    function test_a_registration_reads_back_whole() public {
        uint32 id = register(0);
        IRegistry.Registration memory r = registry.registrationOf(id);
        assertEq(r.owner, ownerOf(0), "owner");
        assertEq(r.service, SERVICE, "service");
        assertEq(r.price, PRICE, "price");
        assertEq(keccak256(abi.encode(r.profile)), keccak256(abi.encode(profile(0))), "profile");
        uint32[] memory one_ = new uint32[](1);
        (uint256 count, uint256[] memory slots) = registry.slotsAt(SERVICE, 1, one_);
        assertEq(count, 1, "count");
        assertEq(registry.slotAt(SERVICE, 1, 0), slots[0], "slot");
        (uint32 owner, IRegistry.Profile memory p) = registry.profileAt(address(uint160(slots[0] >> 64)));
        assertEq(owner, id, "profile's registration");
        assertEq(p.operator, vm.addr(operatorKey(0)), "operator");
        assertEq(registry.registrationBy(SERVICE, p.operator), id, "by operator");
    }

    function rejected(IRegistry.Profile memory p, uint64 price, uint96 bond, bytes memory agreed, bytes memory error_)
        internal
    {
        vm.prank(ownerOf(0));
        vm.expectRevert(error_);
        registry.register(SERVICE, p, price, bond, agreed);
    }

    function test_bad_registrations_are_named() public {
        register(0);
        bytes memory agreed = consent(operatorKey(1), ownerOf(0), SERVICE);
        IRegistry.Profile memory p = profile(1);
        rejected(p, PRICE + 1, BOND, agreed, abi.encodeWithSelector(IRegistry.PriceTooHigh.selector, PRICE + 1, PRICE));
        rejected(p, PRICE, BOND - 1, agreed, abi.encodeWithSelector(IRegistry.BondTooLow.selector, BOND - 1, BOND));
        bytes memory other = consent(operatorKey(2), ownerOf(0), SERVICE);
        rejected(
            p,
            PRICE,
            BOND,
            other,
            abi.encodeWithSelector(IRegistry.NoConsent.selector, vm.addr(operatorKey(1)), vm.addr(operatorKey(2)))
        );
        rejected(
            profile(0),
            PRICE,
            BOND,
            consent(operatorKey(0), ownerOf(0), SERVICE),
            abi.encodeWithSelector(IRegistry.OperatorTaken.selector, SERVICE, vm.addr(operatorKey(0)), 1)
        );
        p.endpoint = "";
        rejected(p, PRICE, BOND, agreed, abi.encodeWithSelector(IRegistry.BadEndpoint.selector, 0, 256));
        p.endpoint = string(new bytes(257));
        rejected(p, PRICE, BOND, agreed, abi.encodeWithSelector(IRegistry.BadEndpoint.selector, 257, 256));
        p = profile(1);
        p.payouts[0].share = 9_999;
        rejected(p, PRICE, BOND, agreed, abi.encodeWithSelector(IRegistry.BadPayouts.selector, 1, 9_999));
        p.payouts[0] = IRegistry.Payout(address(0), 10_000);
        rejected(p, PRICE, BOND, agreed, abi.encodeWithSelector(IRegistry.BadPayouts.selector, 1, 10_000));
        p.payouts = new IRegistry.Payout[](9);
        rejected(p, PRICE, BOND, agreed, abi.encodeWithSelector(IRegistry.BadPayouts.selector, 9, 0));
        p.payouts = new IRegistry.Payout[](0);
        rejected(p, PRICE, BOND, agreed, abi.encodeWithSelector(IRegistry.BadPayouts.selector, 0, 0));
        p.operator = address(0);
        rejected(p, PRICE, BOND, agreed, abi.encodeWithSelector(IRegistry.ZeroOperator.selector));
        assertEq(registry.registrations(), 1, "nothing changed");
    }

    function test_profile_and_price_change_at_the_boundary() public {
        uint32 id = register(0);
        goTo(start(1) + 1);
        address operator = vm.addr(operatorKey(0));
        vm.prank(operator);
        registry.setPrice(id, 5);
        IRegistry.Profile memory p = profile(7);
        bytes memory agreed = consent(operatorKey(7), ownerOf(0), SERVICE);
        vm.prank(ownerOf(0));
        registry.setProfile(id, p, agreed);
        IRegistry.Supplier memory s = registry.supplierAt(SERVICE, 1, 0);
        assertEq(s.price, PRICE, "price then");
        assertEq(s.operator, operator, "operator then");
        s = registry.supplierAt(SERVICE, 2, 0);
        assertEq(s.price, 5, "price from the next session on");
        assertEq(s.operator, vm.addr(operatorKey(7)), "operator from the next session on");
        assertEq(registry.registrationBy(SERVICE, operator), id, "the old key stays taken");
        vm.prank(ownerOf(0));
        registry.setProfile(id, profile(0), "");
        vm.prank(ownerOf(0));
        vm.expectRevert(abi.encodeWithSelector(IRegistry.PriceTooHigh.selector, PRICE + 1, PRICE));
        registry.setPrice(id, PRICE + 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotOwner.selector, id, address(this), ownerOf(0)));
        registry.setPrice(id, 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NoRegistration.selector, 9));
        registry.setPrice(9, 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotOwner.selector, id, address(this), ownerOf(0)));
        registry.setProfile(id, p, "");
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NoRegistration.selector, 9));
        registry.setProfile(9, p, "");
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NoRegistration.selector, 9));
        registry.registrationOf(9);
    }

    function test_a_parked_registration_can_change_and_come_back() public {
        uint32 id = register(0);
        vm.startPrank(ownerOf(0));
        registry.thaw(id, 1);
        assertTrue(!registry.registrationOf(id).listed, "below the least bond: out");
        registry.setPrice(id, 9);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.BondTooLow.selector, BOND - 1, BOND));
        registry.join(id);
        registry.addBond(id, 1);
        registry.join(id);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.AlreadyListed.selector, id));
        registry.join(id);
        vm.stopPrank();
        assertEq(registry.supplierAt(SERVICE, 1, 0).price, 9, "price");
        vm.expectRevert(abi.encodeWithSelector(IRegistry.BondSuffices.selector, BOND, BOND));
        registry.evict(id);
    }

    function test_bonds_thaw_and_leave() public {
        uint32 id = register(0, BOND + 10, PRICE);
        vm.startPrank(ownerOf(0));
        vm.expectRevert(abi.encodeWithSelector(ITill.ZeroAmount.selector));
        registry.thaw(id, 0);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.MoreThanBonded.selector, BOND + 11, BOND + 10));
        registry.thaw(id, BOND + 11);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NothingThaws.selector, id));
        registry.cancelThaw(id);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NothingThaws.selector, id));
        registry.withdraw(id, ownerOf(0));
        registry.thaw(id, 10);
        assertTrue(registry.registrationOf(id).listed, "enough stays");
        uint256 thawsAt = block.number + THAW;
        goTo(thawsAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.StillThawing.selector, thawsAt - 1, thawsAt));
        registry.withdraw(id, ownerOf(0));
        goTo(thawsAt);
        uint256 before = token.balanceOf(address(0xd0));
        registry.withdraw(id, address(0xd0));
        assertEq(token.balanceOf(address(0xd0)) - before, 10, "out");
        registry.thaw(id, 5);
        registry.cancelThaw(id);
        registry.thawAll(id);
        vm.stopPrank();
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotListed.selector, id));
        registry.evict(id);
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NoRegistration.selector, 44));
        registry.addBond(44, 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IRegistry.BondTooHigh.selector, uint256(BOND) + type(uint96).max, type(uint96).max
            )
        );
        registry.addBond(id, type(uint96).max);
    }

    function test_a_registration_hands_over_in_two_steps() public {
        uint32 id = register(0);
        vm.prank(ownerOf(0));
        registry.proposeOwner(id, address(0xbe));
        vm.expectRevert(abi.encodeWithSelector(IRegistry.NotOwner.selector, id, address(this), address(0xbe)));
        registry.acceptOwner(id);
        vm.prank(address(0xbe));
        registry.acceptOwner(id);
        assertEq(registry.registrationOf(id).owner, address(0xbe), "owner");
    }

    /// @dev The indices 0 .. count-1 hold every listed registration exactly once, whatever joins and leaves.
    function testFuzz_indices_have_no_gaps(uint256 seed) public {
        registerMany(8);
        for (uint256 step; step < 15; ++step) {
            seed = uint256(keccak256(abi.encode(seed)));
            uint32 id = uint32(1 + seed % 8);
            vm.roll(block.number + (seed >> 16) % 15);
            vm.startPrank(ownerOf(id - 1));
            if (registry.registrationOf(id).listed) registry.thawAll(id);
            else registry.cancelThaw(id);
            vm.stopPrank();
            uint32 next = params.numberAt(block.number) + 1;
            uint256 listed;
            for (uint32 i = 1; i <= 8; ++i) {
                IRegistry.Registration memory r = registry.registrationOf(i);
                if (!r.listed) continue;
                ++listed;
                assertEq(registry.supplierAt(SERVICE, next, r.index).registration, i, "index");
            }
            assertEq(registry.countAt(SERVICE, next), listed, "count");
        }
    }

    // --- gateways ---

    function test_gateway_bonds() public {
        assertTrue(gateways.isBonded(gateway), "bonded");
        vm.expectRevert(abi.encodeWithSelector(IGateways.ZeroGateway.selector));
        gateways.addBond(address(0), 1);
        vm.expectRevert(
            abi.encodeWithSelector(
                IGateways.BondTooHigh.selector, uint256(5_000e6) + type(uint96).max, type(uint96).max
            )
        );
        gateways.addBond(gateway, type(uint96).max);
        vm.startPrank(gateway);
        vm.expectRevert(abi.encodeWithSelector(ITill.ZeroAmount.selector));
        gateways.thaw(0);
        vm.expectRevert(abi.encodeWithSelector(IGateways.MoreThanBonded.selector, 5_000e6 + 1, 5_000e6));
        gateways.thaw(5_000e6 + 1);
        vm.expectRevert(abi.encodeWithSelector(IGateways.NothingThaws.selector, gateway));
        gateways.cancelThaw();
        vm.expectRevert(abi.encodeWithSelector(IGateways.NothingThaws.selector, gateway));
        gateways.withdraw(gateway);
        gateways.thaw(4_500e6);
        assertTrue(!gateways.isBonded(gateway), "too little stays");
        gateways.cancelThaw();
        gateways.thaw(5_000e6);
        uint256 thawsAt = block.number + THAW;
        goTo(thawsAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IGateways.StillThawing.selector, thawsAt - 1, thawsAt));
        gateways.withdraw(gateway);
        goTo(thawsAt);
        gateways.withdraw(address(0xd0));
        vm.stopPrank();
        assertEq(token.balanceOf(address(0xd0)), 5_000e6, "out");
    }

    // --- escrow ---

    function test_escrow_in_and_out() public {
        vm.startPrank(APPLICATION);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroApplication.selector));
        escrow.deposit(address(0), 1);
        vm.expectRevert(abi.encodeWithSelector(ITill.ZeroAmount.selector));
        escrow.deposit(APPLICATION, 0);
        vm.expectRevert(
            abi.encodeWithSelector(IEscrow.BalanceTooHigh.selector, uint256(1e20) + type(uint112).max, type(uint112).max)
        );
        escrow.deposit(APPLICATION, type(uint112).max);
        vm.expectRevert(abi.encodeWithSelector(ITill.ZeroAmount.selector));
        escrow.thaw(0);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.MoreThanBalance.selector, 1e20 + 1, 1e20));
        escrow.thaw(1e20 + 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NothingThaws.selector, APPLICATION));
        escrow.cancelThaw();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NothingThaws.selector, APPLICATION));
        escrow.withdraw(APPLICATION);
        escrow.thaw(7);
        uint256 thawsAt = block.number + THAW;
        goTo(thawsAt - 1);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.StillThawing.selector, thawsAt - 1, thawsAt));
        escrow.withdraw(APPLICATION);
        goTo(thawsAt);
        escrow.withdraw(address(0xd0));
        assertEq(token.balanceOf(address(0xd0)), 7, "out");
        escrow.thaw(9);
        escrow.cancelThaw();
        vm.stopPrank();
        assertEq(escrow.accountOf(APPLICATION).balance, 1e20 - 7, "balance");
    }

    function test_deposit_with_a_permit_even_one_used_before() public {
        uint256 key = 0xabc;
        address who = vm.addr(key);
        token.mint(who, 100);
        bytes32 kind =
            keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");
        bytes32 inner = keccak256(abi.encode(kind, who, address(escrow), 60, 0, type(uint256).max));
        bytes32 digest = keccak256(abi.encodePacked("\x19\x01", token.DOMAIN_SEPARATOR(), inner));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        token.permit(who, address(escrow), 60, type(uint256).max, v, r, s);
        vm.prank(who);
        escrow.depositWithPermit(APPLICATION, 60, type(uint256).max, v, r, s);
        assertEq(escrow.accountOf(APPLICATION).balance, 1e20 + 60, "for another");
    }

    function test_pausing_stops_deposits_only() public {
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NotGovernance.selector, address(this)));
        escrow.pause();
        vm.prank(GOVERNANCE);
        escrow.pause();
        vm.startPrank(APPLICATION);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.DepositsPaused.selector));
        escrow.deposit(APPLICATION, 1);
        escrow.thaw(1);
        escrow.grant(gateway, SERVICE, 1, 10);
        vm.stopPrank();
        vm.prank(GOVERNANCE);
        escrow.unpause();
        vm.prank(APPLICATION);
        escrow.deposit(APPLICATION, 1);
    }

    function test_grants_hold_from_boundary_to_expiry() public {
        address other = address(0x6a);
        goTo(start(1) + 1);
        vm.startPrank(APPLICATION);
        escrow.grant(other, SERVICE, 50, 4);
        assertEq(escrow.capAt(APPLICATION, other, SERVICE, 1), 0, "before");
        assertEq(escrow.capAt(APPLICATION, other, SERVICE, 2), 50, "first");
        assertEq(escrow.capAt(APPLICATION, other, SERVICE, 4), 50, "last");
        assertEq(escrow.capAt(APPLICATION, other, SERVICE, 5), 0, "after");
        assertEq(escrow.capsAt(APPLICATION, 2), uint256(CAP) + 50, "sum");
        assertEq(escrow.capsAt(APPLICATION, 5), CAP, "expired caps do not count");
        goTo(start(3));
        escrow.grant(other, SERVICE, 0, 0);
        assertEq(escrow.capAt(APPLICATION, other, SERVICE, 3), 50, "revoked at the next boundary");
        assertEq(escrow.capAt(APPLICATION, other, SERVICE, 4), 0, "revoked");
        vm.expectRevert(abi.encodeWithSelector(IEscrow.GrantInUse.selector, other, SERVICE));
        escrow.forget(APPLICATION, 1);
        goTo(start(4));
        escrow.forget(APPLICATION, 1);
        assertEq(escrow.grantsOf(APPLICATION).length, 1, "forgotten");
        vm.expectRevert(abi.encodeWithSelector(IEscrow.NoGrantAt.selector, 1, 1));
        escrow.forget(APPLICATION, 1);
        escrow.grant(other, SERVICE, 3, 9);
        assertEq(escrow.grantsOf(APPLICATION)[1].cap, 3, "listed again");
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ZeroGateway.selector));
        escrow.grant(address(0), SERVICE, 1, 99);
        uint96 most = escrow.CAP_MAX();
        vm.expectRevert(abi.encodeWithSelector(IEscrow.CapTooHigh.selector, most + 1, most));
        escrow.grant(other, SERVICE, most + 1, 99);
        vm.expectRevert(abi.encodeWithSelector(IEscrow.ExpiryPassed.selector, 4, 5));
        escrow.grant(other, SERVICE, 1, 4);
        for (uint160 i = 2; i < 256; ++i) {
            escrow.grant(address(i + 1000), SERVICE, 1, 99);
        }
        vm.expectRevert(abi.encodeWithSelector(IEscrow.TooManyGrants.selector, 256));
        escrow.grant(address(1), SERVICE, 1, 99);
        vm.stopPrank();
    }

    /// @dev Rule 4.6, at the boundary itself: P is 1 + ceil(15 / 20) = 2.
    function test_an_application_that_cannot_cover_its_caps_is_in_no_session() public {
        assertEq(params.unsettled(), 2, "P");
        address poor = address(0x9001);
        vm.prank(poor);
        escrow.grant(gateway, SERVICE, 100, 1_000);
        vm.startPrank(APPLICATION);
        escrow.deposit(poor, 199);
        assertTrue(!escrow.covers(poor, SERVICE, 1), "one short");
        goTo(start(1) - 1);
        escrow.deposit(poor, 1);
        assertTrue(escrow.covers(poor, SERVICE, 1), "enough, before the first block");
        assertTrue(!escrow.covers(poor, "other", 1), "no grant for the service");
        vm.stopPrank();
        goTo(start(1));
        vm.prank(poor);
        escrow.thaw(50);
        assertTrue(escrow.covers(poor, SERVICE, 1), "what was there at the first block counts");
        assertTrue(!escrow.covers(poor, SERVICE, 2), "thawing is left out of the next");
        (, bool known) = escrow.balanceAt(poor, 0);
        assertTrue(!known, "older balances are not kept");
        goTo(start(2));
        vm.prank(APPLICATION);
        escrow.deposit(poor, 50);
        assertTrue(!escrow.covers(poor, SERVICE, 2), "deposited in the first block: too late");
        assertTrue(escrow.covers(poor, SERVICE, 3), "in time for the next");
    }

    // --- params ---

    function test_params_change_after_the_delay_at_a_boundary() public {
        IParams.Rules memory r = rules();
        IParams.Charges memory c = charges();
        (r.suppliers, r.fee, c.supplierBond, c.serviceFee) = (5, 1, 7, 9);
        vm.expectRevert(abi.encodeWithSelector(Ownable.OwnableUnauthorizedAccount.selector, address(this)));
        params.schedule(r, c);
        goTo(start(3) + 4);
        vm.prank(GOVERNANCE);
        uint32 from = params.schedule(r, c);
        assertEq(start(from) > block.number + DELAY ? 1 : 0, 1, "longer than the delay");
        assertEq(start(from) - LENGTH <= block.number + DELAY ? 1 : 0, 1, "the first boundary after it");
        assertEq(params.rulesAt(from - 1).suppliers, 24, "before");
        assertEq(params.rulesAt(from).suppliers, 5, "after");
        assertEq(params.suppliersAt(from), 5, "after");
        assertEq(params.rulesAt(from).fee, 1, "fee");
        assertEq(params.supplierBondAt(from), 7, "bond");
        assertEq(params.chargesAt(from).serviceFee, 9, "service fee");
        assertEq(params.chargesAt(from).gatewayBond, 1_000e6, "gateway bond");
        vm.prank(GOVERNANCE);
        params.setTreasury(address(1));
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(IParams.ZeroAddress.selector));
        params.setTreasury(address(0));
    }

    function outOfBounds(IParams.Rules memory r, IParams.Charges memory c, string memory name, uint256 v, uint256 a, uint256 b)
        internal
    {
        vm.prank(GOVERNANCE);
        vm.expectRevert(abi.encodeWithSelector(IParams.OutOfBounds.selector, name, v, a, b));
        params.schedule(r, c);
    }

    function test_params_stay_in_bounds() public {
        IParams.Charges memory c = charges();
        IParams.Rules memory r = rules();
        (r.suppliers) = 65;
        outOfBounds(r, c, "suppliers", 65, 1, 64);
        r.suppliers = 0;
        outOfBounds(r, c, "suppliers", 0, 1, 64);
        r = rules();
        r.fee = 1_001;
        outOfBounds(r, c, "fee", 1_001, 0, 1_000);
        r = rules();
        r.qualityShare = 5_001;
        outOfBounds(r, c, "qualityShare", 5_001, 0, 5_000);
        r = rules();
        r.qualityMin = 999;
        outOfBounds(r, c, "qualityMin", 999, 1_000, 10_000);
        r = rules();
        r.ownerShareMax = 10_001;
        outOfBounds(r, c, "ownerShareMax", 10_001, 0, 10_000);
        r = rules();
        r.slashShare = 10_001;
        outOfBounds(r, c, "slashShare", 10_001, 0, 10_000);
        c.supplierBond = 1e15 + 1;
        outOfBounds(rules(), c, "supplierBond", 1e15 + 1, 0, 1e15);
        c = charges();
        c.gatewayBond = 1e15 + 1;
        outOfBounds(rules(), c, "gatewayBond", 1e15 + 1, 0, 1e15);
        c = charges();
        c.serviceFee = 1e15 + 1;
        outOfBounds(rules(), c, "serviceFee", 1e15 + 1, 0, 1e15);
    }

    function test_windows_must_make_sense() public {
        IClock.Windows memory w = IClock.Windows(anchor, 20, 2, 5, 10, 55);
        vm.expectRevert(abi.encodeWithSelector(IClock.BadWindows.selector, w));
        new Params(w, 1_000, 1e15, rules(), charges(), TREASURY, GOVERNANCE);
        w.thaw = 56;
        vm.expectRevert(abi.encodeWithSelector(IParams.OutOfBounds.selector, "delay", 71, 72, type(uint64).max));
        new Params(w, 71, 1e15, rules(), charges(), TREASURY, GOVERNANCE);
        Params p = new Params(w, 72, 1e15, rules(), charges(), TREASURY, GOVERNANCE);
        assertEq(p.windows().thaw, 56, "thaw");
        assertEq(p.endOf(0), anchor + 19, "end");
        assertEq(p.statementsUntil(0), anchor + 24, "statements");
        assertEq(p.claimsUntil(0), anchor + 34, "claims");
        vm.expectRevert(abi.encodeWithSelector(IClock.BeforeAnchor.selector, anchor - 1, anchor));
        p.numberAt(anchor - 1);
        w.anchor = uint64(block.number + 1);
        vm.expectRevert(abi.encodeWithSelector(IClock.BadWindows.selector, w));
        new Params(w, 72, 1e15, rules(), charges(), TREASURY, GOVERNANCE);
        w = IClock.Windows(anchor, 0, 2, 5, 10, 60);
        vm.expectRevert(abi.encodeWithSelector(IClock.BadWindows.selector, w));
        new Params(w, 100, 1e15, rules(), charges(), TREASURY, GOVERNANCE);
    }

    // --- binding ---

    function test_settlement_is_bound_once_by_the_deployer() public {
        vm.expectRevert(abi.encodeWithSelector(ITill.AlreadyBound.selector, address(settlement)));
        escrow.bind(address(params));
        Escrow fresh = new Escrow(params, token);
        vm.prank(address(1));
        vm.expectRevert(abi.encodeWithSelector(ITill.OnlyDeployer.selector, address(1)));
        fresh.bind(address(settlement));
        vm.expectRevert(abi.encodeWithSelector(ITill.NoCode.selector, address(1)));
        fresh.bind(address(1));
        vm.expectRevert(abi.encodeWithSelector(ITill.NoCode.selector, address(0)));
        new Gateways(params, token, address(0));
        assertEq(address(settlement.escrow()), address(escrow), "escrow");
        assertEq(address(settlement.registry()), address(registry), "registry");
        assertEq(address(settlement.gateways()), address(gateways), "gateways");
        assertEq(address(settlement.services()), address(services), "services");
        assertEq(address(settlement.sessions()), address(sessions), "sessions");
        assertEq(address(settlement.params()), address(params), "params");
        assertEq(gateways.escrow(), address(escrow), "where slashed bonds go");
    }
}

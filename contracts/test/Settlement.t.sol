// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {ITill} from "../src/interfaces/ITill.sol";
import {World} from "./World.sol";

contract SettlementTest is World {
    uint32 internal constant K = 1;

    uint32[] internal indices;
    uint64[] internal units;
    uint16[] internal qualities;

    function setUp() public {
        open();
        registerMany(30);
        goTo(start(K));
        indices = ascending(K);
        for (uint256 i; i < indices.length; ++i) {
            units.push(uint64(1_000_000 + 77_777 * i));
            qualities.push(uint16(5_000 + 200 * i));
        }
    }

    function packed() internal view returns (bytes memory) {
        return pack(indices, units, qualities);
    }

    function book() internal view returns (bytes memory) {
        return priced(K, indices, units, qualities);
    }

    function total() internal view returns (uint256 sum) {
        for (uint256 i; i < units.length; ++i) {
            sum += uint256(units[i]) * PRICE / 1_000_000;
        }
    }

    function stateAll() internal returns (bytes memory entries) {
        entries = book();
        goTo(end(K) + 1);
        post(statement(K, packed()));
    }

    function registrationAt(uint32 index) internal view returns (uint32) {
        return registry.supplierAt(SERVICE, K, index).registration;
    }

    function rejected(ISettlement.Statement memory s, bytes memory error_) internal {
        bytes memory sig = signed(s);
        vm.expectRevert(error_);
        settlement.postStatement(s, gateway, sig);
    }

    // --- statements ---

    function test_a_statement_is_taken_in_its_window_only() public {
        ISettlement.Statement memory s = statement(K, packed());
        bytes4 closed = ISettlement.WindowClosed.selector;
        goTo(end(K));
        rejected(s, abi.encodeWithSelector(closed, K, end(K), end(K) + 1, end(K) + S));
        goTo(end(K) + S + 1);
        rejected(s, abi.encodeWithSelector(closed, K, end(K) + S + 1, end(K) + 1, end(K) + S));
        goTo(end(K) + S);
        assertEq(post(s), total(), "taken");
        rejected(s, abi.encodeWithSelector(ISettlement.AlreadyStated.selector, pot(K)));
    }

    function test_a_statement_keeps_the_hash_of_its_priced_entries() public {
        bytes memory entries = stateAll();
        ISettlement.Pot memory p = settlement.potOf(pot(K));
        assertEq(p.commit, keccak256(entries), "commit");
        assertEq(p.taken, total(), "taken");
        assertEq(p.excess, 0, "excess");
        assertEq(escrow.accountOf(APPLICATION).balance, 1e20 - total(), "balance");
    }

    function test_first_block_of_the_statement_window() public {
        ISettlement.Statement memory s = statement(K, packed());
        goTo(end(K) + 1);
        post(s);
    }

    function test_bad_entries_are_named() public {
        goTo(end(K) + 1);
        rejected(statement(K, ""), abi.encodeWithSelector(ISettlement.BadEntries.selector, 0));
        rejected(statement(K, hex"00"), abi.encodeWithSelector(ISettlement.BadEntries.selector, 1));
        bytes memory a = abi.encodePacked(indices[1], units[1], qualities[1]);
        bytes memory b = abi.encodePacked(indices[0], units[0], qualities[0]);
        rejected(
            statement(K, abi.encodePacked(a, b)),
            abi.encodeWithSelector(ISettlement.NotAscending.selector, 1, indices[0], indices[1])
        );
        rejected(
            statement(K, abi.encodePacked(a, a)),
            abi.encodeWithSelector(ISettlement.NotAscending.selector, 1, indices[1], indices[1])
        );
        rejected(
            statement(K, abi.encodePacked(indices[0], uint64(0), uint16(5_000))),
            abi.encodeWithSelector(ISettlement.NoUnits.selector, 0)
        );
        rejected(
            statement(K, abi.encodePacked(indices[0], uint64(1), uint16(4_999))),
            abi.encodeWithSelector(ISettlement.BadQuality.selector, 0, 4_999, 5_000)
        );
        rejected(
            statement(K, abi.encodePacked(indices[0], uint64(1), uint16(10_001))),
            abi.encodeWithSelector(ISettlement.BadQuality.selector, 0, 10_001, 5_000)
        );
        rejected(
            statement(K, abi.encodePacked(uint32(30), uint64(1), uint16(5_000))),
            abi.encodeWithSelector(ISettlement.NotInSession.selector, 30, 30, 24)
        );
    }

    function test_an_index_outside_the_session_is_refused() public {
        for (uint32 index; index < 30; ++index) {
            uint8 rank = rankOf(K, index);
            if (rank < 24) continue;
            goTo(end(K) + 1);
            rejected(
                statement(K, abi.encodePacked(index, uint64(1), uint16(5_000))),
                abi.encodeWithSelector(ISettlement.NotInSession.selector, index, rank, 24)
            );
        }
    }

    function test_a_statement_above_the_cap_is_refused() public {
        goTo(end(K) + 1);
        uint64 most = uint64(uint256(CAP) * 1_000_000 / PRICE);
        rejected(
            statement(K, abi.encodePacked(indices[0], most + 1, uint16(5_000))),
            abi.encodeWithSelector(ISettlement.OverCap.selector, CAP + 2, CAP)
        );
        assertEq(post(statement(K, abi.encodePacked(indices[0], most, uint16(5_000)))), CAP, "the cap itself");
    }

    function test_other_signers_sessions_and_domains_are_refused() public {
        ISettlement.Statement memory s = statement(K, packed());
        goTo(end(K) + 1);
        bytes memory sig = signature(0xbad, settlement.statementDigest(s));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.WrongSigner.selector, gateway, vm.addr(0xbad)));
        settlement.postStatement(s, gateway, sig);
        vm.expectRevert(
            abi.encodeWithSelector(ISettlement.NoGrant.selector, APPLICATION, vm.addr(0xbad), SERVICE, K)
        );
        settlement.postStatement(s, vm.addr(0xbad), sig);
        s.session = 1 << 32;
        rejected(s, abi.encodeWithSelector(ISettlement.SessionTooFar.selector, uint64(1 << 32)));
        s.session = K;
        sig = signed(s);
        vm.chainId(5);
        vm.expectRevert(ISettlement.WrongSigner.selector);
        this.postAs(s, sig);
        vm.chainId(31_337);
    }

    /// @dev Turns any WrongSigner into its bare selector.
    function postAs(ISettlement.Statement calldata s, bytes calldata sig) external {
        try settlement.postStatement(s, gateway, sig) {}
        catch (bytes memory error_) {
            bytes4 kind = bytes4(error_);
            assembly {
                mstore(0, kind)
                revert(0, 4)
            }
        }
    }

    function test_a_high_s_signature_is_refused() public {
        ISettlement.Statement memory s = statement(K, packed());
        goTo(end(K) + 1);
        (uint8 v, bytes32 r, bytes32 low) = vm.sign(GATEWAY_KEY, settlement.statementDigest(s));
        bytes32 high = flip(low);
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, high));
        settlement.postStatement(s, gateway, abi.encodePacked(r, high, uint8(55 - v)));
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureLength.selector, 64));
        settlement.postStatement(s, gateway, abi.encodePacked(r, low));
    }

    function flip(bytes32 s) internal pure returns (bytes32) {
        return bytes32(0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141 - uint256(s));
    }

    function test_no_grant_no_statement() public {
        vm.prank(APPLICATION);
        escrow.grant(gateway, SERVICE, 0, 0);
        goTo(end(K) + 1);
        uint256 before = escrow.accountOf(APPLICATION).balance;
        assertEq(post(statement(K, packed())), total(), "revoked at the next boundary only");
        assertEq(escrow.accountOf(APPLICATION).balance, before - total(), "debit");
        goTo(end(2) + 1);
        ISettlement.Statement memory s = statement(2, abi.encodePacked(ascending(2)[0], uint64(1), uint16(5_000)));
        rejected(s, abi.encodeWithSelector(ISettlement.NoGrant.selector, APPLICATION, gateway, SERVICE, 2));
    }

    function testFuzz_any_changed_bit_of_a_statement_fails(uint256 bit) public {
        ISettlement.Statement memory s = statement(K, packed());
        bytes memory sig = signed(s);
        goTo(end(K) + 1);
        bytes memory data = abi.encodeCall(settlement.postStatement, (s, gateway, sig));
        // Every bit of the arguments but those of paddings and offsets, whose change gives the same call or none.
        bit = bound(bit, 32, 8 * data.length - 1);
        data[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        (bool done,) = address(settlement).call(data);
        assertTrue(!done || settlement.potOf(pot(K)).commit == keccak256(book()), "another statement was taken");
    }

    // --- claims ---

    function claimOf(uint32 index, uint128 total_, uint128 hold, bytes memory entries) internal returns (uint256) {
        address operator = registry.supplierAt(SERVICE, K, index).operator;
        ISettlement.LaneReceipt memory l = lane(K, operator, "lane", total_, hold);
        return settlement.claim(potKey(K), index, entries, one(l), none());
    }

    function claimRejected(uint32 index, uint128 total_, bytes memory entries, bytes memory error_) internal {
        address operator = registry.supplierAt(SERVICE, K, index).operator;
        ISettlement.LaneReceipt[] memory lanes = one(lane(K, operator, "lane", total_, 0));
        vm.expectRevert(error_);
        settlement.claim(potKey(K), index, entries, lanes, none());
    }

    function test_a_claim_is_taken_in_its_window_only() public {
        bytes4 closed = ISettlement.WindowClosed.selector;
        goTo(end(K) + S);
        claimRejected(
            indices[0], 1e6, "", abi.encodeWithSelector(closed, K, end(K) + S, end(K) + S + 1, end(K) + S + C)
        );
        goTo(end(K) + S + C + 1);
        claimRejected(
            indices[0], 1e6, "", abi.encodeWithSelector(closed, K, end(K) + S + C + 1, end(K) + S + 1, end(K) + S + C)
        );
        goTo(end(K) + S + C);
        assertEq(claimOf(indices[0], 1e6, 0, ""), PRICE, "last block");
        goTo(end(K) + S + 1);
        assertEq(claimOf(indices[1], 1e6, 0, ""), PRICE, "first block");
    }

    function test_a_claim_without_statement_takes_from_escrow_and_pays_all_but_the_fee() public {
        goTo(end(K) + S + 1);
        claimOf(indices[0], 4_000_000, 0, "");
        uint256 amount = 4 * uint256(PRICE);
        assertEq(settlement.potOf(pot(K)).taken, amount, "taken");
        assertEq(settlement.potOf(pot(K)).commit, bytes32(0), "commit");
        assertEq(gateways.bondOf(gateway).bond, 5_000e6, "no statement is no fault");
        goTo(end(K) + S + C + 1);
        uint32 id = registrationAt(indices[0]);
        uint8 rank = rankOf(K, indices[0]);
        assertEq(settlement.withdraw(id, payRefs(K, rank, "")), amount * 98 / 100, "pay");
        assertEq(settlement.collect(potRefs(K, "")), amount - amount * 98 / 100, "fee");
    }

    function test_a_later_claim_counts_only_if_higher_and_replaces() public {
        goTo(end(K) + S + 1);
        claimOf(indices[0], 4_000_000, 0, "");
        claimRejected(
            indices[0], 4_000_000, "", abi.encodeWithSelector(ISettlement.ClaimTooLow.selector, 4_000_000, 4_000_000)
        );
        claimOf(indices[0], 4_000_001, 0, "");
        claimOf(indices[0], 6_000_000, 0, "");
        assertEq(settlement.potOf(pot(K)).taken, 6 * uint256(PRICE), "replaced, not added");
        ISettlement.Claim memory c = settlement.claimOf(pot(K), rankOf(K, indices[0]));
        assertEq(c.units, 6_000_000, "units");
        assertEq(c.amount, 6 * uint256(PRICE), "amount");
    }

    function test_a_claim_within_the_statement_is_refused() public {
        bytes memory entries = stateAll();
        goTo(end(K) + S + 1);
        claimRejected(
            indices[2], units[2], entries, abi.encodeWithSelector(ISettlement.ClaimTooLow.selector, units[2], units[2])
        );
    }

    function test_other_priced_entries_are_refused() public {
        bytes memory entries = stateAll();
        bytes memory other = bytes.concat(entries);
        other[20] ^= 0x01;
        goTo(end(K) + S + 1);
        bytes4 wrong = ISettlement.WrongPriced.selector;
        claimRejected(indices[2], 1e9, other, abi.encodeWithSelector(wrong, keccak256(other), keccak256(entries)));
        claimRejected(indices[2], 1e9, "", abi.encodeWithSelector(wrong, bytes32(0), keccak256(entries)));
        goTo(end(K) + S + C + 1);
        uint32 id = registrationAt(indices[2]);
        ISettlement.PayRef[] memory refs = payRefs(K, rankOf(K, indices[2]), other);
        vm.expectRevert(abi.encodeWithSelector(wrong, keccak256(other), keccak256(entries)));
        settlement.withdraw(id, refs);
        vm.expectRevert(abi.encodeWithSelector(wrong, keccak256(other), keccak256(entries)));
        settlement.collect(potRefs(K, other));
        vm.expectRevert(abi.encodeWithSelector(wrong, keccak256(other), keccak256(entries)));
        settlement.payOf(potRefs(K, other)[0]);
    }

    function test_responses_add_at_most_the_hold() public {
        goTo(end(K) + S + 1);
        uint32 index = indices[0];
        uint256 key = keyOf(registrationAt(index));
        address operator = vm.addr(key);
        ISettlement.LaneReceipt[] memory lanes = new ISettlement.LaneReceipt[](3);
        for (uint256 i; i < 3; ++i) {
            lanes[i] = lane(K, operator, bytes32(i + 1), 1_000_000, 5_000);
        }
        ISettlement.LaneResponse[] memory answers = new ISettlement.LaneResponse[](2);
        answers[0] = answer(K, key, lanes[0], 0, 4_000);
        answers[1] = answer(K, key, lanes[2], 2, 1e30);
        settlement.claim(potKey(K), index, "", lanes, answers);
        assertEq(settlement.claimOf(pot(K), rankOf(K, index)).units, 3_009_000, "units");
    }

    function test_bad_lanes_and_responses_are_named() public {
        goTo(end(K) + S + 1);
        uint32 index = indices[0];
        uint256 key = keyOf(registrationAt(index));
        address operator = vm.addr(key);
        ISettlement.PotKey memory k = potKey(K);
        ISettlement.LaneReceipt[] memory lanes = new ISettlement.LaneReceipt[](0);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NoLanes.selector));
        settlement.claim(k, index, "", lanes, none());
        lanes = new ISettlement.LaneReceipt[](2);
        lanes[0] = lane(K, operator, bytes32(uint256(7)), 1e6, 10);
        lanes[1] = lanes[0];
        vm.expectRevert(
            abi.encodeWithSelector(
                ISettlement.LaneNotAscending.selector, 1, bytes32(uint256(7)), bytes32(uint256(7))
            )
        );
        settlement.claim(k, index, "", lanes, none());
        lanes[1] = lane(K, operator, bytes32(uint256(8)), 1e6, 10);
        ISettlement.LaneResponse[] memory answers = new ISettlement.LaneResponse[](2);
        answers[0] = answer(K, key, lanes[1], 1, 1);
        answers[1] = answer(K, key, lanes[0], 0, 1);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotAscending.selector, 1, 0, 2));
        settlement.claim(k, index, "", lanes, answers);
        answers[1].position = 2;
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NoSuchLane.selector, 2, 2));
        settlement.claim(k, index, "", lanes, answers);
        answers[1] = answers[0];
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotAscending.selector, 1, 1, 2));
        settlement.claim(k, index, "", lanes, answers);
        answers = new ISettlement.LaneResponse[](1);
        answers[0] = answer(K, operatorKey(29), lanes[0], 0, 1);
        vm.expectRevert(ISettlement.WrongSigner.selector);
        this.claimAs(k, index, lanes, answers);
        answers[0] = answer(K, key, lanes[0], 0, 1);
        answers[0].s = flip(answers[0].s);
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, answers[0].s));
        settlement.claim(k, index, "", lanes, answers);
        lanes[0].s = flip(lanes[0].s);
        vm.expectRevert(abi.encodeWithSelector(ECDSA.ECDSAInvalidSignatureS.selector, lanes[0].s));
        settlement.claim(k, index, "", lanes, none());
        lanes[0] = lane(K, operator, bytes32(uint256(7)), type(uint128).max, 10);
        vm.expectRevert(
            abi.encodeWithSelector(ISettlement.TooManyUnits.selector, uint256(type(uint128).max) + 1e6)
        );
        settlement.claim(k, index, "", lanes, none());
    }

    function claimAs(
        ISettlement.PotKey calldata k,
        uint32 index,
        ISettlement.LaneReceipt[] calldata lanes,
        ISettlement.LaneResponse[] calldata answers
    ) external {
        try settlement.claim(k, index, "", lanes, answers) {}
        catch (bytes memory error_) {
            bytes4 kind = bytes4(error_);
            assembly {
                mstore(0, kind)
                revert(0, 4)
            }
        }
    }

    /// @dev A receipt names its supplier and session: nobody else is paid by it.
    function test_a_receipt_pays_its_own_supplier_and_session_only() public {
        goTo(end(K) + S + 1);
        address operator = registry.supplierAt(SERVICE, K, indices[0]).operator;
        ISettlement.LaneReceipt[] memory lanes = one(lane(K, operator, "lane", 1e6, 0));
        vm.expectRevert(ISettlement.WrongSigner.selector);
        this.claimAs(potKey(K), indices[1], lanes, none());
        ISettlement.LaneReceipt[] memory foreign = one(lane(2, operator, "lane", 1e6, 0));
        vm.expectRevert(ISettlement.WrongSigner.selector);
        this.claimAs(potKey(K), indices[0], foreign, none());
        for (uint32 index; index < 31; ++index) {
            if (index < 30 && rankOf(K, index) < 24) continue;
            vm.expectRevert(ISettlement.NotInSession.selector);
            this.claimAs(potKey(K), index, lanes, none());
        }
    }

    function testFuzz_any_changed_bit_of_a_claim_fails(uint256 bit) public {
        goTo(end(K) + S + 1);
        uint32 index = indices[0];
        uint256 key = keyOf(registrationAt(index));
        ISettlement.LaneReceipt[] memory lanes = one(lane(K, vm.addr(key), "lane", 1e6, 500));
        ISettlement.LaneResponse[] memory answers = new ISettlement.LaneResponse[](1);
        answers[0] = answer(K, key, lanes[0], 0, 400);
        bytes memory data = abi.encodeCall(settlement.claim, (potKey(K), index, "", lanes, answers));
        bit = bound(bit, 32, 8 * data.length - 1);
        data[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        (bool done,) = address(settlement).call(data);
        // Cutting the responses away is another, lower claim that its signer may make; nothing else may pass.
        uint64 claimed = settlement.claimOf(pot(K), rankOf(K, index)).units;
        assertTrue(!done || claimed == 1_000_400 || claimed == 1_000_000, "another claim was taken");
    }

    // --- the gateway's fault ---

    function test_a_claim_above_statement_and_holds_takes_the_gateways_bond() public {
        bytes memory entries = stateAll();
        goTo(end(K) + S + 1);
        uint32 index = indices[2];
        claimOf(index, units[2] + 100_000, 100_000, entries);
        assertEq(gateways.bondOf(gateway).bond, 5_000e6, "within the holds: no fault");
        claimOf(index, units[2] + 200_000, 199_999, entries);
        uint256 due = 200_000 * uint256(PRICE) / 1e6;
        uint8 rank = rankOf(K, index);
        assertEq(settlement.compensationOf(pot(K), rank), due, "compensation");
        claimOf(index, units[2] + 300_000, 0, entries);
        due = 300_000 * uint256(PRICE) / 1e6;
        assertEq(settlement.compensationOf(pot(K), rank), due, "only what is added");
        assertEq(gateways.bondOf(gateway).bond, 5_000e6 - due, "bond");
        goTo(end(K) + S + C + 1);
        (uint256[] memory pays,) = settlement.payOf(potRefs(K, entries)[0]);
        uint32 id = registrationAt(index);
        assertEq(settlement.withdraw(id, payRefs(K, rank, entries)), pays[rank] + due, "paid once more");
    }

    function test_a_fault_takes_at_most_the_bond_and_thawing_too() public {
        vm.startPrank(gateway);
        gateways.thaw(4_000e6);
        vm.stopPrank();
        bytes memory entries = stateAll();
        goTo(end(K) + S + 1);
        uint32 index = indices[2];
        claimOf(index, 10_000e6, 0, entries);
        assertEq(settlement.compensationOf(pot(K), rankOf(K, index)), 5_000e6, "all there is");
        assertEq(gateways.bondOf(gateway).bond, 0, "bond");
        assertEq(gateways.bondOf(gateway).thawing, 0, "thawing");
        claimOf(indices[3], 10_000e6, 0, entries);
        assertEq(settlement.compensationOf(pot(K), rankOf(K, indices[3])), 0, "nothing is left");
    }

    /// @dev The second claim is higher by its response, its receipts' totals are lower.
    function test_a_higher_claim_with_a_smaller_shortfall_takes_no_more_bond() public {
        goTo(end(K) + 1);
        post(statement(K, abi.encodePacked(indices[5], uint64(1), uint16(9_000))));
        bytes memory entries = abi.encodePacked(indices[5], rankOf(K, indices[5]), uint96(2), uint16(9_000), uint64(1));
        goTo(end(K) + S + 1);
        uint32 index = indices[2];
        claimOf(index, 1_000_000, 0, entries);
        uint96 before = settlement.compensationOf(pot(K), rankOf(K, index));
        assertEq(before, PRICE, "the whole of it");
        uint256 key = keyOf(registrationAt(index));
        ISettlement.LaneReceipt[] memory lanes = one(lane(K, vm.addr(key), "lane", 900_000, 500_000));
        ISettlement.LaneResponse[] memory answers = new ISettlement.LaneResponse[](1);
        answers[0] = answer(K, key, lanes[0], 0, 500_000);
        settlement.claim(potKey(K), index, entries, lanes, answers);
        assertEq(settlement.claimOf(pot(K), rankOf(K, index)).units, 1_400_000, "the claim counts");
        assertEq(settlement.compensationOf(pot(K), rankOf(K, index)), before, "the bond pays no more");
    }

    function test_an_amount_beyond_96_bits_is_refused() public {
        vm.prank(OWNER);
        services.setTerms(SERVICE, type(uint64).max, 0);
        goTo(start(2));
        uint32 index = ascending(2)[0];
        uint32 id = registry.supplierAt(SERVICE, 2, index).registration;
        vm.prank(ownerOf(id - 1));
        registry.setPrice(id, type(uint64).max);
        goTo(start(3));
        uint32[] memory in3 = ascending(3);
        goTo(end(3) + S + 1);
        for (uint256 i; i < in3.length; ++i) {
            if (registry.supplierAt(SERVICE, 3, in3[i]).registration != id) continue;
            address operator = vm.addr(keyOf(id));
            ISettlement.LaneReceipt[] memory lanes = one(lane(3, operator, "lane", type(uint64).max, 0));
            uint256 amount = uint256(type(uint64).max) * type(uint64).max / 1e6;
            vm.expectRevert(abi.encodeWithSelector(ISettlement.AmountTooHigh.selector, amount));
            settlement.claim(potKey(3), in3[i], "", lanes, none());
        }
    }

    // --- pay ---

    function test_withdrawal_opens_after_the_claim_window() public {
        bytes memory entries = stateAll();
        uint32 id = registrationAt(indices[0]);
        ISettlement.PayRef[] memory refs = payRefs(K, rankOf(K, indices[0]), entries);
        uint256 opens = end(K) + S + C + 1;
        goTo(opens - 1);
        bytes memory closed =
            abi.encodeWithSelector(ISettlement.WindowClosed.selector, K, opens - 1, opens, type(uint256).max);
        vm.expectRevert(closed);
        settlement.withdraw(id, refs);
        vm.expectRevert(closed);
        settlement.collect(potRefs(K, entries));
        goTo(opens);
        assertTrue(settlement.withdraw(id, refs) > 0, "paid");
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NothingToWithdraw.selector, id));
        settlement.withdraw(id, refs);
        settlement.collect(potRefs(K, entries));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.AlreadyCollected.selector, pot(K)));
        settlement.collect(potRefs(K, entries));
    }

    function test_only_the_registration_of_the_rank_is_paid() public {
        bytes memory entries = stateAll();
        goTo(end(K) + S + C + 1);
        uint32 mine = registrationAt(indices[0]);
        uint32 other = registrationAt(indices[1]);
        ISettlement.PayRef[] memory refs = payRefs(K, rankOf(K, indices[1]), entries);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotRegistration.selector, mine, other));
        settlement.withdraw(mine, refs);
        refs = payRefs(K, 200, entries);
        vm.expectRevert(abi.encodeWithSelector(ISettlement.NotInPot.selector, pot(K), 200));
        settlement.withdraw(mine, refs);
    }

    function test_all_pay_and_the_fee_sum_to_the_debit() public {
        bytes memory entries = stateAll();
        goTo(end(K) + S + 1);
        claimOf(indices[5], 9_000_000, 9_000_000, entries);
        goTo(end(K) + S + C + 1);
        uint256 debit = 1e20 - escrow.accountOf(APPLICATION).balance;
        uint256 paid;
        for (uint256 i; i < indices.length; ++i) {
            uint256 got =
                settlement.withdraw(registrationAt(indices[i]), payRefs(K, rankOf(K, indices[i]), entries));
            assertEq(token.balanceOf(payeeOf(registrationAt(indices[i]) - 1)), got, "payee");
            paid += got;
        }
        uint256 treasury = token.balanceOf(TREASURY);
        uint256 owner = token.balanceOf(OWNER);
        uint256 fee = settlement.collect(potRefs(K, entries));
        assertEq(paid + fee, debit, "conserved");
        assertEq(token.balanceOf(OWNER) - owner, fee / 2, "owner's half, rounded down");
        assertEq(token.balanceOf(TREASURY) - treasury, fee - fee / 2, "treasury's rest");
        assertEq(token.balanceOf(address(escrow)), escrow.accountOf(APPLICATION).balance, "escrow holds the rest");
    }

    function test_a_short_pot_guarantees_an_equal_part_each() public {
        goTo(end(K) + S + 1);
        uint64 most = uint64(uint256(CAP) * 1_000_000 / PRICE);
        claimOf(indices[0], most * 10, 0, "");
        claimOf(indices[1], most / 24, 0, "");
        claimOf(indices[2], most / 12, 0, "");
        assertEq(settlement.potOf(pot(K)).taken, CAP, "at most the cap");
        (uint256[] memory pays, uint256 fee) = settlement.payOf(potRefs(K, "")[0]);
        uint256 part = CAP / 24;
        uint256 second = uint256(most / 24) * PRICE / 1e6;
        assertEq(pays[rankOf(K, indices[1])], second * 98 / 100, "within its part: in full");
        assertTrue(pays[rankOf(K, indices[2])] >= part * 98 / 100, "at least its part");
        uint256 sum = fee;
        for (uint256 i; i < pays.length; ++i) {
            sum += pays[i];
        }
        assertEq(sum, CAP, "conserved");
        goTo(end(K) + S + C + 1);
        for (uint256 i; i < 3; ++i) {
            uint8 rank = rankOf(K, indices[i]);
            assertEq(settlement.withdraw(registrationAt(indices[i]), payRefs(K, rank, "")), pays[rank], "pay");
        }
    }

    function test_an_empty_escrow_pays_what_it_has_thawing_included() public {
        vm.startPrank(APPLICATION);
        escrow.thaw(1e20 - 10);
        vm.stopPrank();
        stateAll();
        assertEq(settlement.potOf(pot(K)).taken, total(), "thawing escrow still pays");
        assertEq(escrow.accountOf(APPLICATION).balance, 0, "balance first");
        assertEq(escrow.accountOf(APPLICATION).thawing, 1e20 - total(), "then thawing");
    }

    function test_the_debit_does_not_depend_on_quality() public {
        goTo(end(K) + 1);
        for (uint256 i; i < qualities.length; ++i) {
            qualities[i] = i % 2 == 0 ? 5_000 : 10_000;
        }
        assertEq(post(statement(K, packed())), total(), "debit");
    }

    function test_a_batch_pays_each_session_by_its_own_profile() public {
        // From session 2 on, registration 1 is paid elsewhere.
        uint32 id = registrationAt(indices[0]);
        bytes memory old = book();
        vm.prank(ownerOf(id - 1));
        registry.setProfile(id, split(id), "");
        goTo(end(K) + 1);
        post(statement(K, packed()));
        goTo(end(2) + 1);
        uint32[] memory in2 = ascending(2);
        uint32 index = type(uint32).max;
        for (uint256 i; i < in2.length; ++i) {
            if (registry.supplierAt(SERVICE, 2, in2[i]).registration == id) index = in2[i];
        }
        ISettlement.PayRef[] memory refs = new ISettlement.PayRef[](index == type(uint32).max ? 1 : 2);
        refs[0] = ISettlement.PayRef(potKey(K), rankOf(K, indices[0]), old);
        uint256 second;
        if (refs.length == 2) {
            post(statement(2, abi.encodePacked(index, uint64(1e9), uint16(10_000))));
            bytes memory entries =
                abi.encodePacked(index, rankOf(2, index), uint96(uint256(1e9) * PRICE / 1e6), uint16(10_000), uint64(1e9));
            refs[1] = ISettlement.PayRef(potKey(2), rankOf(2, index), entries);
            second = uint256(1e9) * PRICE / 1e6 * 98 / 100;
        }
        goTo(end(2) + S + C + 1);
        uint256 paid = settlement.withdraw(id, refs);
        assertEq(token.balanceOf(payeeOf(id - 1)), paid - second, "first session: the payee of then");
        assertEq(token.balanceOf(address(0x111)), second * 3_333 / 10_000, "second session: a third");
        assertEq(token.balanceOf(address(0x222)), second - second * 3_333 / 10_000, "the last takes the dust");
    }

    function split(uint32 id) internal pure returns (IRegistry.Profile memory p) {
        p = profile(id - 1);
        p.payouts = new IRegistry.Payout[](2);
        p.payouts[0] = IRegistry.Payout(address(0x111), 3_333);
        p.payouts[1] = IRegistry.Payout(address(0x222), 6_667);
    }

    // --- the supplier's fault ---

    function receiptOf(address operator) internal pure returns (ISettlement.Receipt memory) {
        bytes32 sid = keccak256(abi.encode(APPLICATION, SERVICE, K));
        return ISettlement.Receipt(sid, operator, "lane", 9, 100, 5, "request");
    }

    function test_two_responses_to_one_receipt_cost_a_share_of_the_bond() public {
        address operator = vm.addr(operatorKey(4));
        ISettlement.Receipt memory r = receiptOf(operator);
        bytes32 digest = settlement.receiptDigest(r);
        ISettlement.Response memory a = ISettlement.Response(digest, "a", 5, 1, 2, "b");
        ISettlement.Response memory b = ISettlement.Response(digest, "a", 4, 1, 2, "b");
        bytes memory sa = signature(operatorKey(4), settlement.responseDigest(a));
        bytes memory sb = signature(operatorKey(4), settlement.responseDigest(b));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.SameResponse.selector, settlement.responseDigest(a)));
        settlement.reportEquivocation(APPLICATION, SERVICE, K, r, a, sa, a, sa);
        bytes32 foreign = keccak256(abi.encode(APPLICATION, SERVICE, uint32(2)));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.OtherReceipt.selector, foreign, r.session));
        settlement.reportEquivocation(APPLICATION, SERVICE, 2, r, a, sa, b, sb);
        bytes memory bad = signature(operatorKey(5), settlement.responseDigest(b));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.WrongSigner.selector, operator, vm.addr(operatorKey(5))));
        settlement.reportEquivocation(APPLICATION, SERVICE, K, r, a, sa, b, bad);
        b.receipt = "other";
        vm.expectRevert(abi.encodeWithSelector(ISettlement.OtherReceipt.selector, digest, b.receipt));
        settlement.reportEquivocation(APPLICATION, SERVICE, K, r, a, sa, b, sb);
        b.receipt = digest;
        uint256 treasury = token.balanceOf(TREASURY);
        assertEq(settlement.reportEquivocation(APPLICATION, SERVICE, K, r, a, sa, b, sb), BOND / 10, "slashed");
        assertEq(token.balanceOf(TREASURY) - treasury, BOND / 10, "treasury");
        assertEq(registry.registrationOf(5).bond, BOND - BOND / 10, "bond");
        vm.expectRevert(abi.encodeWithSelector(ISettlement.AlreadyReported.selector, digest));
        settlement.reportEquivocation(APPLICATION, SERVICE, K, r, a, sa, b, sb);
        registry.evict(5);
        assertTrue(!registry.registrationOf(5).listed, "evicted below the least bond");
    }

    function testFuzz_any_changed_bit_of_a_report_slashes_nobody_else(uint256 bit) public {
        ISettlement.Receipt memory r = receiptOf(vm.addr(operatorKey(4)));
        bytes32 digest = settlement.receiptDigest(r);
        ISettlement.Response memory a = ISettlement.Response(digest, "a", 5, 1, 2, "b");
        ISettlement.Response memory b = ISettlement.Response(digest, "a", 4, 1, 2, "b");
        bytes memory sa = signature(operatorKey(4), settlement.responseDigest(a));
        bytes memory sb = signature(operatorKey(4), settlement.responseDigest(b));
        bytes memory data = abi.encodeCall(settlement.reportEquivocation, (APPLICATION, SERVICE, K, r, a, sa, b, sb));
        bit = bound(bit, 32, 8 * data.length - 1);
        data[bit / 8] ^= bytes1(uint8(1 << (bit % 8)));
        (bool done,) = address(settlement).call(data);
        for (uint32 id = 1; id <= 30; ++id) {
            // Paddings and offsets may change and mean the same report.
            uint256 slashed = done && id == 5 ? BOND / 10 : 0;
            assertEq(registry.registrationOf(id).bond, BOND - slashed, "bond");
        }
    }

    function test_an_unknown_operator_cannot_be_reported() public {
        ISettlement.Receipt memory r = receiptOf(vm.addr(0x99));
        bytes32 digest = settlement.receiptDigest(r);
        ISettlement.Response memory a = ISettlement.Response(digest, "a", 5, 1, 2, "b");
        ISettlement.Response memory b = ISettlement.Response(digest, "c", 5, 1, 2, "b");
        bytes memory sa = signature(0x99, settlement.responseDigest(a));
        bytes memory sb = signature(0x99, settlement.responseDigest(b));
        vm.expectRevert(abi.encodeWithSelector(ISettlement.UnknownOperator.selector, SERVICE, vm.addr(0x99)));
        settlement.reportEquivocation(APPLICATION, SERVICE, K, r, a, sa, b, sb);
    }

    function test_the_domain_is_the_deployments_own() public view {
        bytes32 kind = keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
        bytes32 name = keccak256("pocketnode");
        bytes32 domain = keccak256(abi.encode(kind, name, keccak256("1"), block.chainid, address(settlement)));
        assertEq(settlement.domainSeparator(), domain, "separator");
    }

    function test_nothing_collects_nothing() public {
        assertEq(settlement.collect(new ISettlement.PotRef[](0)), 0, "nothing");
    }

    // --- who may call ---

    function test_only_settlement_moves_money() public {
        vm.expectRevert(abi.encodeWithSelector(ITill.OnlySettlement.selector, address(this)));
        escrow.take(APPLICATION, gateway, SERVICE, K, 0, 1);
        vm.expectRevert(abi.encodeWithSelector(ITill.OnlySettlement.selector, address(this)));
        escrow.pay(address(this), 1);
        vm.expectRevert(abi.encodeWithSelector(ITill.OnlySettlement.selector, address(this)));
        gateways.slash(gateway, 1);
        vm.expectRevert(abi.encodeWithSelector(ITill.OnlySettlement.selector, address(this)));
        registry.slash(1, 1);
    }
}

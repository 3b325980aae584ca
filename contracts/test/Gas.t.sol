// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {World} from "./World.sol";

/// @dev What whole transactions cost, calldata and base fee of 21,000 included: run with `--isolate`. Snapshots lie in
/// contracts/snapshots; a change shows as a difference there.
contract GasTest is World {
    function setUp() public {
        open();
        registerMany(60);
        goTo(start(1));
        // Histories are as long as in a session's normal life: counts, prices and grants have changed before.
        register(60);
        goTo(start(2));
        token.mint(payeeOf(registrationOf(3) - 1), 1);
    }

    /// @dev Of the supplier at a place among a statement's entries.
    function registrationOf(uint256 place) internal view returns (uint32) {
        return registry.supplierAt(SERVICE, 2, ascending(2)[place]).registration;
    }

    function entriesOf(uint256 n)
        internal
        view
        returns (uint32[] memory indices, uint64[] memory units, uint16[] memory qualities)
    {
        indices = ascending(2);
        assembly {
            mstore(indices, n)
        }
        (units, qualities) = (new uint64[](n), new uint16[](n));
        for (uint256 i; i < n; ++i) {
            (units[i], qualities[i]) = (uint64(1_000_000_007 + 13 * i), uint16(9_000 + i));
        }
    }

    function state(uint256 n) internal returns (bytes memory entries, uint256 gas) {
        (uint32[] memory indices, uint64[] memory units, uint16[] memory qualities) = entriesOf(n);
        entries = priced(2, indices, units, qualities);
        ISettlement.Statement memory s = statement(2, pack(indices, units, qualities));
        bytes memory sig = signed(s);
        goTo(end(2) + 1);
        settlement.postStatement(s, gateway, sig);
        gas = vm.snapshotGasLastCall("gas", string.concat("statement of ", vm.toString(n)));
        vm.snapshotValue(
            "calldata",
            string.concat("statement of ", vm.toString(n)),
            abi.encodeCall(settlement.postStatement, (s, gateway, sig)).length
        );
    }

    function test_statement_of_24() public {
        (, uint256 gas) = state(24);
        assertLe(gas, 260_000, "statement of 24");
    }

    function test_statement_of_23() public {
        state(23);
    }

    function test_statement_of_1() public {
        (, uint256 gas) = state(1);
        assertLe(gas, 260_000, "statement of 1");
    }

    function lanesOf(uint256 n, uint128 hold) internal view returns (ISettlement.LaneReceipt[] memory lanes) {
        address operator = registry.supplierAt(SERVICE, 2, ascending(2)[3]).operator;
        lanes = new ISettlement.LaneReceipt[](n);
        bytes32 id = keccak256("lanes");
        for (uint256 i; i < n; ++i) {
            lanes[i] = lane(2, operator, bytes32(uint256(id) + i), uint128(900_000_007 + i), hold);
        }
    }

    function claimed(uint256 n, bytes memory entries, bool responses, string memory name) internal returns (uint256 gas) {
        uint32 index = ascending(2)[3];
        ISettlement.LaneReceipt[] memory lanes = lanesOf(n, responses ? 5_000 : 0);
        ISettlement.LaneResponse[] memory answers;
        if (responses) {
            answers = new ISettlement.LaneResponse[](n);
            uint256 key = keyOf(registry.supplierAt(SERVICE, 2, index).registration);
            for (uint32 i; i < n; ++i) {
                answers[i] = answer(2, key, lanes[i], i, 4_000);
            }
        }
        goTo(end(2) + S + 1);
        settlement.claim(potKey(2), index, entries, lanes, answers);
        gas = vm.snapshotGasLastCall("gas", name);
        vm.snapshotValue(
            "calldata", name, abi.encodeCall(settlement.claim, (potKey(2), index, entries, lanes, answers)).length
        );
    }

    function test_claim_of_16_lanes_without_statement() public {
        assertLe(claimed(16, "", false, "claim of 16 lanes, no statement"), 220_000, "claim");
    }

    function test_claim_of_16_lanes_above_statement() public {
        (bytes memory entries,) = state(24);
        claimed(16, entries, false, "claim of 16 lanes, statement of 24, fault");
    }

    function test_claim_of_16_lanes_with_responses() public {
        claimed(16, "", true, "claim of 16 lanes, 16 responses");
    }

    function test_withdraw_one() public {
        (bytes memory entries,) = state(24);
        uint32 index = ascending(2)[3];
        uint8 rank = rankOf(2, index);
        uint32 registration = registry.supplierAt(SERVICE, 2, index).registration;
        ISettlement.PayRef[] memory refs = payRefs(2, rank, entries);
        goTo(end(2) + S + C + 1);
        settlement.withdraw(registration, refs);
        assertLe(vm.snapshotGasLastCall("gas", "withdraw of 1 session"), 90_000, "withdraw");
        vm.snapshotValue(
            "calldata", "withdraw of 1 session", abi.encodeCall(settlement.withdraw, (registration, refs)).length
        );
    }

    function test_collect_one() public {
        (bytes memory entries,) = state(24);
        goTo(end(2) + S + C + 1);
        settlement.collect(potRefs(2, entries));
        vm.snapshotGasLastCall("gas", "collect of 1 pot");
    }

    function test_poke() public {
        sessions.poke(2);
        assertLe(vm.snapshotGasLastCall("gas", "poke"), 60_000, "poke");
        vm.snapshotValue("calldata", "poke", abi.encodeCall(sessions.poke, (2)).length);
    }

    function test_register() public {
        fund(ownerOf(77), 1e30);
        bytes memory agreed = consent(operatorKey(77), ownerOf(77), SERVICE);
        vm.prank(ownerOf(77));
        registry.register(SERVICE, profile(77), PRICE, BOND, agreed);
        assertLe(vm.snapshotGasLastCall("gas", "register"), 260_000, "register");
        vm.snapshotValue(
            "calldata",
            "register",
            abi.encodeCall(registry.register, (SERVICE, profile(77), PRICE, BOND, agreed)).length
        );
    }

    function test_grant() public {
        vm.prank(APPLICATION);
        escrow.grant(address(0x77), SERVICE, CAP, 1_000);
        vm.snapshotGasLastCall("gas", "grant");
    }
}

// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {ISessions} from "../src/interfaces/ISessions.sol";
import {World} from "./World.sol";

contract SessionsTest is World {
    function setUp() public {
        open();
    }

    function test_a_session_reads_whole_in_one_call() public {
        registerMany(30);
        goTo(start(1));
        ISessions.Session memory s = sessionAt(1);
        assertEq(s.id, keccak256(abi.encode(APPLICATION, SERVICE, uint64(1))), "id");
        assertEq(s.start, start(1), "start");
        assertEq(s.end, end(1), "end");
        assertEq(s.seed, keccak256(abi.encode(blockhash(start(1) - 1), APPLICATION, SERVICE)), "seed");
        assertEq(s.count, 30, "count");
        assertTrue(s.covered, "covered");
        assertEq(s.suppliers.length, 24, "N");
        for (uint256 rank; rank < 24; ++rank) {
            uint32 index = uint32(sessions.permute(s.seed, 30, rank));
            assertEq(s.suppliers[rank].index, index, "rank order");
            assertEq(s.suppliers[rank].registration, index + 1, "registration");
            assertEq(s.suppliers[rank].operator, vm.addr(operatorKey(index)), "operator");
            assertEq(sessions.inverse(s.seed, 30, index), rank, "inverse");
        }
    }

    function test_one_supplier_and_none() public {
        goTo(start(1));
        assertEq(sessionAt(1).suppliers.length, 0, "none");
        register(0);
        goTo(start(2));
        assertEq(sessionAt(2).suppliers.length, 1, "one");
        assertEq(sessionAt(1).suppliers.length, 0, "still none before");
    }

    function test_nothing_changes_inside_a_session() public {
        registerMany(30);
        goTo(start(1));
        bytes32 before = keccak256(abi.encode(sessionAt(1)));
        register(30);
        vm.startPrank(ownerOf(3));
        registry.thawAll(4);
        vm.stopPrank();
        vm.prank(ownerOf(9));
        registry.setPrice(10, 1);
        vm.prank(APPLICATION);
        escrow.thaw(1e20);
        goTo(end(1));
        assertEq(keccak256(abi.encode(sessionAt(1))), before, "the same to its last block");
        goTo(start(2));
        assertTrue(!sessionAt(2).covered, "and all of it at the next");
    }

    function test_a_seed_is_known_from_the_first_block_to_8191_later_or_for_good() public {
        goTo(start(1) - 1);
        bytes memory unknown = abi.encodeWithSelector(ISessions.SeedUnknown.selector, 1);
        vm.expectRevert(unknown);
        sessions.seedOf(APPLICATION, SERVICE, 1);
        vm.expectRevert(unknown);
        sessions.poke(1);
        bytes32 hash = keccak256("hash");
        vm.store(HISTORY, bytes32((start(1) - 1) % 8191), hash);
        goTo(start(1) - 1 + 8191);
        assertEq(sessions.blockHashOf(1), hash, "the last block that EIP-2935 has it");
        goTo(start(1) + 8191);
        vm.expectRevert(unknown);
        sessions.blockHashOf(1);
        goTo(start(1) - 1 + 8191);
        assertEq(sessions.poke(1), hash, "poke");
        assertEq(sessions.poke(1), hash, "again");
        goTo(start(1) + 1_000_000);
        assertEq(sessions.blockHashOf(1), hash, "kept");
        assertEq(
            sessions.seedOf(APPLICATION, SERVICE, 1), keccak256(abi.encode(hash, APPLICATION, SERVICE)), "seed"
        );
    }

    /// @dev 5,000 registrations cost a session no more to read than 24 do.
    function test_5000_registrations() public {
        IRegistry.Profile memory p = profile(0);
        for (uint256 i; i < 5_000; ++i) {
            p.operator = address(uint160(0x10000 + i));
            registerAs(p);
        }
        goTo(start(1));
        uint256 before = gasleft();
        ISessions.Session memory s = sessionAt(1);
        assertLe(before - gasleft(), 3_000_000, "gas of the view");
        assertEq(s.count, 5_000, "count");
        assertEq(s.suppliers.length, 24, "suppliers");
        for (uint256 i; i < 24; ++i) {
            for (uint256 j = i + 1; j < 24; ++j) {
                assertTrue(s.suppliers[i].index != s.suppliers[j].index, "distinct");
            }
        }
    }

    /// @dev The operator registers itself: no consent is needed, and no key either.
    function registerAs(IRegistry.Profile memory p) internal {
        token.mint(p.operator, BOND);
        vm.startPrank(p.operator);
        token.approve(address(registry), BOND);
        registry.register(SERVICE, p, PRICE, BOND, "");
        vm.stopPrank();
    }
}

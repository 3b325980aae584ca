// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {Digests} from "../src/lib/Digests.sol";
import {Pay} from "../src/lib/Pay.sol";
import {Selection} from "../src/lib/Selection.sol";
import {Timeline} from "../src/lib/Timeline.sol";
import {Test} from "./Test.sol";

/// @dev The same values as Python: tests/vectors/protocol.json, and pots that Python has divided.
contract VectorsTest is Test {
    string internal json;

    function setUp() public {
        json = vm.readFile("../tests/vectors/protocol.json");
    }

    function path(string memory list, uint256 i, string memory field) internal pure returns (string memory) {
        return string.concat(".", list, "[", vm.toString(i), "].", field);
    }

    function word(string memory list, uint256 i, string memory field, uint256 j) internal view returns (bytes32) {
        string memory key = string.concat(path(list, i, field), "[", vm.toString(j), "]");
        return bytes32(vm.parseJsonUint(json, key));
    }

    function typed(uint256 i, bytes32 hash) internal view returns (bytes32) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("pocketnode"),
                keccak256("1"),
                vm.parseJsonUint(json, path("digests", i, "chain")),
                vm.parseJsonAddress(json, path("digests", i, "contract"))
            )
        );
        assertEq(domain, vm.parseJsonBytes32(json, path("digests", i, "separator")), "separator");
        return keccak256(abi.encodePacked("\x19\x01", domain, hash));
    }

    function hashes(
        ISettlement.Statement calldata s,
        ISettlement.Receipt calldata r,
        ISettlement.Response calldata a
    ) external pure returns (bytes32, bytes32, bytes32) {
        return (Digests.statement(s), Digests.receipt(r), Digests.response(a));
    }

    function test_digests() public view {
        for (uint256 i; i < 8; ++i) {
            ISettlement.Receipt memory r = ISettlement.Receipt(
                word("digests", i, "receipt", 0),
                address(uint160(uint256(word("digests", i, "receipt", 1)))),
                word("digests", i, "receipt", 2),
                uint64(uint256(word("digests", i, "receipt", 3))),
                uint128(uint256(word("digests", i, "receipt", 4))),
                uint128(uint256(word("digests", i, "receipt", 5))),
                word("digests", i, "receipt", 6)
            );
            ISettlement.Response memory a = ISettlement.Response(
                word("digests", i, "response", 0),
                word("digests", i, "response", 1),
                uint128(uint256(word("digests", i, "response", 2))),
                uint32(uint256(word("digests", i, "response", 3))),
                uint32(uint256(word("digests", i, "response", 4))),
                word("digests", i, "response", 5)
            );
            ISettlement.Statement memory s = ISettlement.Statement(
                address(uint160(uint256(word("digests", i, "statement", 0)))),
                word("digests", i, "statement", 1),
                uint64(uint256(word("digests", i, "statement", 2))),
                vm.parseJsonBytes(json, string.concat(path("digests", i, "statement"), "[3]")),
                word("digests", i, "statement", 4)
            );
            (bytes32 hs, bytes32 hr, bytes32 ha) = this.hashes(s, r, a);
            assertEq(typed(i, hr), vm.parseJsonBytes32(json, path("digests", i, "receiptDigest")), "receipt");
            assertEq(typed(i, ha), vm.parseJsonBytes32(json, path("digests", i, "responseDigest")), "response");
            assertEq(typed(i, hs), vm.parseJsonBytes32(json, path("digests", i, "statementDigest")), "statement");
        }
    }

    function test_session_ids_pots_and_seeds() public view {
        for (uint256 i; i < 8; ++i) {
            address application = vm.parseJsonAddress(json, path("sessions", i, "application"));
            bytes32 service = vm.parseJsonBytes32(json, path("sessions", i, "service"));
            uint32 number = uint32(vm.parseJsonUint(json, path("sessions", i, "number")));
            address gateway = vm.parseJsonAddress(json, path("sessions", i, "gateway"));
            bytes32 hash = vm.parseJsonBytes32(json, path("sessions", i, "blockHash"));
            bytes32 id = keccak256(abi.encode(application, service, number));
            assertEq(id, vm.parseJsonBytes32(json, path("sessions", i, "id")), "id");
            assertEq(keccak256(abi.encode(id, gateway)), vm.parseJsonBytes32(json, path("sessions", i, "pot")), "pot");
            bytes32 seed = keccak256(abi.encode(hash, application, service));
            assertEq(seed, vm.parseJsonBytes32(json, path("sessions", i, "seed")), "seed");
        }
    }

    function test_permutations() public view {
        for (uint256 i; i < 18; ++i) {
            bytes32 seed = vm.parseJsonBytes32(json, path("permutations", i, "seed"));
            uint256 count = vm.parseJsonUint(json, path("permutations", i, "count"));
            uint256[] memory indices = vm.parseJsonUintArray(json, path("permutations", i, "indices"));
            for (uint256 rank; rank < indices.length; ++rank) {
                assertEq(Selection.permute(seed, count, rank), indices[rank], "permute");
                assertEq(Selection.inverse(seed, count, indices[rank]), rank, "inverse");
            }
        }
    }

    function testFuzz_selection_is_a_permutation(bytes32 seed, uint256 count) public pure {
        count = bound(count, 1, 300);
        bool[] memory seen = new bool[](count);
        for (uint256 rank; rank < count; ++rank) {
            uint256 index = Selection.permute(seed, count, rank);
            assertTrue(index < count && !seen[index], "distinct");
            seen[index] = true;
            assertEq(Selection.inverse(seed, count, index), rank, "inverse");
        }
    }

    function permute(bytes32 seed, uint256 count, uint256 rank) external pure returns (uint256) {
        return Selection.permute(seed, count, rank);
    }

    function inverse(bytes32 seed, uint256 count, uint256 index) external pure returns (uint256) {
        return Selection.inverse(seed, count, index);
    }

    function test_ranks_and_indices_out_of_range_are_refused() public {
        vm.expectRevert(abi.encodeWithSelector(Selection.OutOfRange.selector, 5, 5));
        this.permute("s", 5, 5);
        vm.expectRevert(abi.encodeWithSelector(Selection.OutOfRange.selector, 5, 5));
        this.inverse("s", 5, 5);
    }

    /// @dev Over 4,000 seeds, every one of 40 indices is among the first 24 equally often: chi-square with 39 degrees of
    /// freedom stays below its 99.99% point (80).
    function test_selection_is_uniform() public pure {
        uint256 seeds = 4_000;
        uint256[] memory hits = new uint256[](40);
        for (uint256 i; i < seeds; ++i) {
            for (uint256 rank; rank < 24; ++rank) {
                ++hits[Selection.permute(keccak256(abi.encode(i)), 40, rank)];
            }
        }
        uint256 expected = seeds * 24 / 40;
        uint256 chi;
        for (uint256 i; i < 40; ++i) {
            uint256 d = hits[i] > expected ? hits[i] - expected : expected - hits[i];
            chi += d * d;
        }
        // Draws without replacement vary less: the statistic is scaled by 1 / (1 - 24/40).
        assertLe(chi * 40 / 16 / expected, 80, "chi-square");
    }

    // --- what cannot happen in the contracts' use of the libraries ---

    Timeline.History internal history;

    function set(uint32 from, uint224 value) external {
        Timeline.set(history, from, value);
    }

    function test_a_timeline_keeps_every_value_and_goes_forward_only() public {
        assertEq(Timeline.during(history, 0), 0, "before the first");
        this.set(3, 30);
        this.set(3, 31);
        this.set(5, 50);
        assertEq(Timeline.during(history, 2), 0, "before");
        assertEq(Timeline.during(history, 3), 31, "replaced");
        assertEq(Timeline.during(history, 4), 31, "still");
        assertEq(Timeline.during(history, 5), 50, "from then on");
        assertEq(Timeline.latest(history), 50, "latest");
        vm.expectRevert(abi.encodeWithSelector(Timeline.NotForward.selector, 4, 5));
        this.set(4, 40);
    }

    // --- pay ---

    function readUint(bytes memory data, uint256 offset, uint256 length) internal pure returns (uint256 value) {
        assembly {
            value := shr(sub(256, mul(8, length)), mload(add(add(data, 32), offset)))
        }
    }

    /// @dev One pot of tests/vectors/generate.py; returns where the next begins.
    function check(bytes memory data, uint256 offset) internal pure returns (uint256) {
        uint256 n = readUint(data, offset, 1);
        Pay.Book memory book = Pay.Book(
            new uint256[](n),
            new uint256[](n),
            new uint256[](n),
            readUint(data, offset + 1, 16),
            readUint(data, offset + 17, 2),
            readUint(data, offset + 19, 2)
        );
        offset += 21;
        for (uint256 i; i < n; ++i) {
            book.amounts[i] = readUint(data, offset + 38 * i, 12);
            book.qualities[i] = readUint(data, offset + 38 * i + 12, 2);
            book.demands[i] = readUint(data, offset + 38 * i + 14, 12);
        }
        uint256[] memory pays = Pay.all(book);
        uint256 sum;
        for (uint256 i; i < n; ++i) {
            assertEq(pays[i], readUint(data, offset + 38 * i + 26, 12), "pay");
            sum += pays[i];
        }
        assertLe(sum, book.taken, "never more than was taken");
        return offset + 38 * n;
    }

    /// @dev A call of its own for each file, so that memory starts empty.
    function checkFile(string calldata file) external view returns (uint256 cases) {
        bytes memory data = vm.readFileBinary(file);
        for (uint256 offset; offset < data.length; ++cases) {
            uint256 free;
            assembly {
                free := mload(0x40)
            }
            offset = check(data, offset);
            assembly {
                mstore(0x40, free)
            }
        }
    }

    /// @dev tests/contracts writes the files; without them there is nothing to compare with.
    function test_pay_equals_python() public view {
        uint256 cases;
        for (uint256 i; vm.exists(string.concat("cache/pay/", vm.toString(i), ".bin")); ++i) {
            cases += this.checkFile(string.concat("cache/pay/", vm.toString(i), ".bin"));
        }
        if (bytes(vm.envOr("PAY_CASES", "")).length > 0) assertTrue(cases >= 10_000, "10,000 cases");
    }

    /// @dev Rule 5.6 by hand: equal amounts, qualities 1 and 1/2.
    function test_pay_by_hand() public pure {
        uint256 w = 1_000 * 10_000 + 1_000 * 5_000;
        assertEq(Pay.statedDown(1_000, 10_000, 2_000, w, 200, 2_000), 1_045, "good");
        assertEq(Pay.statedDown(1_000, 5_000, 2_000, w, 200, 2_000), 914, "half");
        assertEq(Pay.statedDown(0, 5_000, 0, 0, 200, 2_000), 0, "nothing");
    }

    function testFuzz_the_multiplier_is_bounded(uint256 a, uint256 b, uint16 wa, uint16 wb) public pure {
        (a, b) = (bound(a, 1, 1 << 80), bound(b, 1, 1 << 80));
        uint256 qa = bound(wa, 5_000, 10_000);
        uint256 qb = bound(wb, 5_000, 10_000);
        uint256 pay = Pay.statedDown(a, qa, a + b, a * qa + b * qb, 0, 2_000);
        assertTrue(pay + 1 >= a * 9 / 10 && pay <= a * 12 / 10, "0.90 to 1.20");
    }
}

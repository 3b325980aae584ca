// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Escrow} from "../src/Escrow.sol";
import {Gateways} from "../src/Gateways.sol";
import {Params} from "../src/Params.sol";
import {Registry} from "../src/Registry.sol";
import {Services} from "../src/Services.sol";
import {Sessions} from "../src/Sessions.sol";
import {Settlement} from "../src/Settlement.sol";
import {IClock} from "../src/interfaces/IClock.sol";
import {IParams} from "../src/interfaces/IParams.sol";
import {IRegistry} from "../src/interfaces/IRegistry.sol";
import {ISessions} from "../src/interfaces/ISessions.sol";
import {ISettlement} from "../src/interfaces/ISettlement.sol";
import {TestToken} from "../src/testing/TestToken.sol";
import {Test} from "./Test.sol";

/// @dev A deployment with localnet's windows, and the keys and signatures of everyone in it.
abstract contract World is Test {
    uint64 internal constant LENGTH = 20;
    uint64 internal constant S = 5;
    uint64 internal constant C = 10;
    uint64 internal constant THAW = 60;
    uint64 internal constant DELAY = 100;
    uint96 internal constant BOND = 1_000e6;
    uint96 internal constant CAP = 1_000_000e6;
    uint64 internal constant PRICE = 2_500_000;
    bytes32 internal constant SERVICE = "evm-1";
    address internal constant HISTORY = 0x0000F90827F1C53a10cb7A02335B175320002935;
    uint256 internal constant GATEWAY_KEY = 0x6a7e;
    uint256 internal constant SUPPLIER_KEY = 0x50000;

    address internal constant GOVERNANCE = address(0x60);
    address internal constant TREASURY = address(0x71ea);
    address internal constant OWNER = address(0x0f);
    address internal constant APPLICATION = address(0xa99);

    TestToken internal token;
    Params internal params;
    Services internal services;
    Registry internal registry;
    Gateways internal gateways;
    Escrow internal escrow;
    Sessions internal sessions;
    Settlement internal settlement;
    address internal gateway;
    uint64 internal anchor;

    /// @dev The order of contracts/README.md.
    function deploy(IERC20 money) internal {
        IClock.Windows memory w = IClock.Windows(anchor, LENGTH, 2, S, C, THAW);
        params = new Params(w, DELAY, 1e15, rules(), charges(), TREASURY, GOVERNANCE);
        services = new Services(params, money);
        registry = new Registry(params, services, money);
        escrow = new Escrow(params, money);
        gateways = new Gateways(params, money, address(escrow));
        sessions = new Sessions(params, registry, escrow);
        settlement = new Settlement(params, services, registry, gateways, escrow, sessions);
        registry.bind(address(settlement));
        escrow.bind(address(settlement));
        gateways.bind(address(settlement));
    }

    /// @dev A service, a bonded gateway and a funded application with a grant, from session 1 on.
    function open() internal {
        vm.roll(1_000);
        anchor = 1_000;
        // The runtime code of EIP-2935 itself: this EVM has no system contracts of its own.
        vm.etch(
            HISTORY,
            hex"3373fffffffffffffffffffffffffffffffffffffffe14604657602036036042575f35600143038111604257611fff81430311604257611fff9006545f5260205ff35b5f5ffd5b5f35611fff60014303065500"
        );
        token = new TestToken("Test", "TEST", 6);
        deploy(token);
        gateway = vm.addr(GATEWAY_KEY);
        fund(address(this), 1e30);
        fund(OWNER, 1e30);
        fund(APPLICATION, 1e30);
        vm.prank(OWNER);
        services.add(SERVICE, "evm", keccak256("spec"), "ipfs://spec", PRICE, 5_000, 1e15);
        vm.startPrank(APPLICATION);
        escrow.deposit(APPLICATION, 1e20);
        escrow.grant(gateway, SERVICE, CAP, type(uint32).max);
        vm.stopPrank();
        gateways.addBond(gateway, 5_000e6);
    }

    function fund(address account, uint256 amount) internal {
        token.mint(account, amount);
        vm.startPrank(account);
        token.approve(address(services), type(uint256).max);
        token.approve(address(registry), type(uint256).max);
        token.approve(address(escrow), type(uint256).max);
        token.approve(address(gateways), type(uint256).max);
        vm.stopPrank();
    }

    function rules() internal pure virtual returns (IParams.Rules memory) {
        return IParams.Rules(24, 200, 2_000, 5_000, 5_000, 1_000);
    }

    function charges() internal pure returns (IParams.Charges memory) {
        return IParams.Charges(BOND, 1_000e6, 100e6);
    }

    function operatorKey(uint256 i) internal pure returns (uint256) {
        return SUPPLIER_KEY + i;
    }

    function ownerOf(uint256 i) internal pure returns (address) {
        return address(uint160(0xbeef0000 + i));
    }

    function payeeOf(uint256 i) internal pure returns (address) {
        return address(uint160(0xfee0000 + i));
    }

    function profile(uint256 i) internal pure returns (IRegistry.Profile memory p) {
        p.operator = vm.addr(operatorKey(i));
        p.fingerprint = keccak256(abi.encode("certificate", i));
        p.endpoint = "s1.example.com:8443";
        p.payouts = new IRegistry.Payout[](1);
        p.payouts[0] = IRegistry.Payout(payeeOf(i), 10_000);
    }

    function consent(uint256 key, address owner, bytes32 service) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("pocketnode"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        bytes32 inner = keccak256(abi.encode(keccak256("Operate(address owner,bytes32 service)"), owner, service));
        return signature(key, keccak256(abi.encodePacked("\x19\x01", domain, inner)));
    }

    function register(uint256 i) internal returns (uint32) {
        return register(i, BOND, PRICE);
    }

    function register(uint256 i, uint96 bond, uint64 price) internal returns (uint32 id) {
        if (token.allowance(ownerOf(i), address(registry)) == 0) fund(ownerOf(i), 1e30);
        bytes memory agreed = consent(operatorKey(i), ownerOf(i), SERVICE);
        vm.prank(ownerOf(i));
        return registry.register(SERVICE, profile(i), price, bond, agreed);
    }

    function registerMany(uint256 n) internal {
        for (uint256 i; i < n; ++i) {
            register(i);
        }
    }

    function signature(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    function goTo(uint256 blockNumber) internal {
        vm.roll(blockNumber);
    }

    function start(uint32 session) internal view returns (uint256) {
        return anchor + uint256(session) * LENGTH;
    }

    function end(uint32 session) internal view returns (uint256) {
        return start(session) + LENGTH - 1;
    }

    function sessionAt(uint32 number) internal view returns (ISessions.Session memory) {
        return sessions.sessionOf(APPLICATION, SERVICE, number);
    }

    function potKey(uint32 session) internal view returns (ISettlement.PotKey memory) {
        return ISettlement.PotKey(APPLICATION, SERVICE, session, gateway);
    }

    function pot(uint32 session) internal view returns (bytes32) {
        return settlement.potId(potKey(session));
    }

    /// @dev `indices` must be in the session; each gets units and quality of its place.
    function pack(uint32[] memory indices, uint64[] memory units, uint16[] memory qualities)
        internal
        pure
        returns (bytes memory packed)
    {
        for (uint256 i; i < indices.length; ++i) {
            packed = abi.encodePacked(packed, indices[i], units[i], qualities[i]);
        }
    }

    /// @dev The indices of a session in ascending order.
    function ascending(uint32 session) internal view returns (uint32[] memory indices) {
        ISessions.Session memory s = sessionAt(session);
        indices = new uint32[](s.suppliers.length);
        for (uint256 i; i < indices.length; ++i) {
            uint32 index = s.suppliers[i].index;
            uint256 j = i;
            for (; j > 0 && indices[j - 1] > index; --j) {
                indices[j] = indices[j - 1];
            }
            indices[j] = index;
        }
    }

    function rankOf(uint32 session, uint32 index) internal view returns (uint8) {
        bytes32 seed = sessions.seedOf(APPLICATION, SERVICE, session);
        return uint8(sessions.inverse(seed, registry.countAt(SERVICE, session), index));
    }

    /// @dev What the contract makes of a statement's entries, computed here on its own.
    function priced(uint32 session, uint32[] memory indices, uint64[] memory units, uint16[] memory qualities)
        internal
        view
        returns (bytes memory out)
    {
        for (uint256 i; i < indices.length; ++i) {
            uint64 price = registry.supplierAt(SERVICE, session, indices[i]).price;
            uint96 amount = uint96(uint256(units[i]) * price / 1_000_000);
            out = abi.encodePacked(out, indices[i], rankOf(session, indices[i]), amount, qualities[i], units[i]);
        }
    }

    function statement(uint32 session, bytes memory entries) internal pure returns (ISettlement.Statement memory) {
        return ISettlement.Statement(APPLICATION, SERVICE, session, entries, keccak256("relays"));
    }

    function signed(ISettlement.Statement memory s) internal view returns (bytes memory) {
        return signature(GATEWAY_KEY, settlement.statementDigest(s));
    }

    function post(ISettlement.Statement memory s) internal returns (uint256) {
        return settlement.postStatement(s, gateway, signed(s));
    }

    function lane(uint32 session, address supplier, bytes32 id, uint128 total, uint128 hold)
        internal
        view
        returns (ISettlement.LaneReceipt memory l)
    {
        bytes32 sid = keccak256(abi.encode(APPLICATION, SERVICE, session));
        bytes32 request = hold == 0 ? bytes32(0) : keccak256("request");
        bytes32 digest =
            settlement.receiptDigest(ISettlement.Receipt(sid, supplier, id, 7, total, hold, request));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(GATEWAY_KEY, digest);
        return ISettlement.LaneReceipt(id, 7, total, hold, request, v, r, s);
    }

    /// @dev The operator's Response to a lane's receipt.
    function answer(uint32 session, uint256 key, ISettlement.LaneReceipt memory l, uint32 position, uint128 units)
        internal
        view
        returns (ISettlement.LaneResponse memory a)
    {
        bytes32 sid = keccak256(abi.encode(APPLICATION, SERVICE, session));
        bytes32 receipt = settlement.receiptDigest(
            ISettlement.Receipt(sid, vm.addr(key), l.lane, l.seq, l.total, l.hold, l.request)
        );
        bytes32 digest = settlement.responseDigest(
            ISettlement.Response(receipt, keccak256("payload"), units, 12, 34, keccak256("backend"))
        );
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return ISettlement.LaneResponse(position, keccak256("payload"), units, 12, 34, keccak256("backend"), v, r, s);
    }

    function one(ISettlement.LaneReceipt memory l) internal pure returns (ISettlement.LaneReceipt[] memory lanes) {
        lanes = new ISettlement.LaneReceipt[](1);
        lanes[0] = l;
    }

    function none() internal pure returns (ISettlement.LaneResponse[] memory) {}

    /// @dev The supplier number behind a registration: ids start at 1, in the order of registering.
    function keyOf(uint32 registration) internal pure returns (uint256) {
        return operatorKey(registration - 1);
    }

    function payRefs(uint32 session, uint8 rank, bytes memory entries)
        internal
        view
        returns (ISettlement.PayRef[] memory refs)
    {
        refs = new ISettlement.PayRef[](1);
        refs[0] = ISettlement.PayRef(potKey(session), rank, entries);
    }

    function potRefs(uint32 session, bytes memory entries) internal view returns (ISettlement.PotRef[] memory refs) {
        refs = new ISettlement.PotRef[](1);
        refs[0] = ISettlement.PotRef(potKey(session), entries);
    }
}

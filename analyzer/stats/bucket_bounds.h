/*
 * bucket_bounds.h - floor(2^63 * 2^(j/256)) for j = 0 .. 255: the bounds inside an octave.
 *
 * Made with exact integers, eight nested square roots of 2^(63 * 256 + j):
 *   x = 2**(63*256 + j); for _ in range(8): x = math.isqrt(x)
 * tests/unit/test_histogram.c checks them by raising to the 256th power.
 */
#ifndef REQSCOPE_BUCKET_BOUNDS_H
#define REQSCOPE_BUCKET_BOUNDS_H

#include <stdint.h>

/* clang-format off */
static const uint64_t rqs_bucket_bounds[256] = {
	0x8000000000000000ull, 0x8058d7d2d5e5f6b0ull, 0x80b1ed4fd999ab6cull, 0x810b40a1d81406d4ull,
	0x8164d1f3bc030773ull, 0x81bea1708dde6055ull, 0x8218af4373fc25ebull, 0x8272fb97b2a5894cull,
	0x82cd8698ac2ba1d7ull, 0x83285071e0fc4546ull, 0x8383594eefb6ee36ull, 0x83dea15b9541b132ull,
	0x843a28c3acde4046ull, 0x8495efb3303efd2full, 0x84f1f656379c1a29ull, 0x854e3cd8f9c8c95dull,
	0x85aac367cc487b14ull, 0x86078a2f23642a9full, 0x8664915b923fba03ull, 0x86c1d919caef5c87ull,
	0x871f61969e8d1010ull, 0x877d2afefd4e256cull, 0x87db357ff698d791ull, 0x88398146b919f1d4ull,
	0x88980e8092da8527ull, 0x88f6dd5af155ac6bull, 0x8955ee03618e5fdcull, 0x89b540a7902557a3ull,
	0x8a14d575496efd9aull, 0x8a74ac9a79896e46ull, 0x8ad4c6452c728924ull, 0x8b3522a38e1e1031ull,
	0x8b95c1e3ea8bd6e6ull, 0x8bf6a434adde0084ull, 0x8c57c9c4646f4dddull, 0x8cb932c1bae97a95ull,
	0x8d1adf5b7e5ba9e5ull, 0x8d7ccfc09c50e2f7ull, 0x8ddf042022e69cd5ull, 0x8e417ca940e35a01ull,
	0x8ea4398b45cd53c0ull, 0x8f073af5a2013520ull, 0x8f6a8117e6c8e5c4ull, 0x8fce0c21c6726481ull,
	0x9031dc431466b1dcull, 0x9095f1abc540ca6bull, 0x90fa4c8beee4b12aull, 0x915eed13c89689d3ull,
	0x91c3d373ab11c336ull, 0x9228ffdc10a051acull, 0x928e727d9531f9acull, 0x92f42b88f673aa7cull,
	0x935a2b2f13e6e92bull, 0x93c071a0eef94bc0ull, 0x9426ff0fab1c04b6ull, 0x948dd3ac8ddb7ed3ull,
	0x94f4efa8fef70961ull, 0x955c5336887894d5ull, 0x95c3fe86d6cc7feeull, 0x962bf1cbb8d9755full,
	0x96942d3720185a00ull, 0x96fcb0fb20ac4ba2ull, 0x97657d49f17ab08eull, 0x97ce9255ec4357abull,
	0x9837f0518db8a96full, 0x98a1976f7597e995ull, 0x990b87e266c189a9ull, 0x9975c1dd47518c77ull,
	0x99e0459320b7fa64ull, 0x9a4b13371fd166caull, 0x9ab62afc94ff864aull, 0x9b218d16f441d63cull,
	0x9b8d39b9d54e5538ull, 0x9bf93118f3aa4cc1ull, 0x9c6573682ec32c2dull, 0x9cd200db8a0774caull,
	0x9d3ed9a72cffb750ull, 0x9dabfdff6367a2a9ull, 0x9e196e189d472420ull, 0x9e872a276f0b98ffull,
	0x9ef5326091a111adull, 0x9f6386f8e28ba650ull, 0x9fd228256400dd05ull, 0xa041161b3d0121bdull,
	0xa0b0510fb9714fc2ull, 0xa11fd9384a344cf7ull, 0xa18faeca8544b6e3ull, 0xa1ffd1fc25cea188ull,
	0xa27043030c496818ull, 0xa2e102153e918f9eull, 0xa3520f68e802bb92ull, 0xa3c36b345991b47bull,
	0xa43515ae09e6809eull, 0xa4a70f0c95768ec4ull, 0xa5195786be9ef339ull, 0xa58bef536dbeb6edull,
	0xa5fed6a9b15138eaull, 0xa6720dc0be08a20bull, 0xa6e594cfeee86b1dull, 0xa7596c0ec55ff55bull,
	0xa7cd93b4e9653569ull, 0xa8420bfa298f70d1ull, 0xa8b6d5167b320e08ull, 0xa92bef41fa77771bull,
	0xa9a15ab4ea7c0ef8ull, 0xaa1717a7b5693979ull, 0xaa8d2652ec907629ull, 0xab0386ef48868de0ull,
	0xab7a39b5a93ed337ull, 0xabf13edf162675e8ull, 0xac6896a4be3fe929ull, 0xace0413ff83e5d03ull,
	0xad583eea42a14ac6ull, 0xadd08fdd43d01491ull, 0xae493452ca35b80eull, 0xaec22c84cc5c9465ull,
	0xaf3b78ad690a4374ull, 0xafb51906e75b8661ull, 0xb02f0dcbb6e04583ull, 0xb0a957366fb7a3c9ull,
	0xb123f581d2ac258full, 0xb19ee8e8c94feb08ull, 0xb21a31a66618fe3bull, 0xb295cff5e47db4a3ull,
	0xb311c412a9112489ull, 0xb38e0e38419fae17ull, 0xb40aaea2654b9840ull, 0xb487a58cf4a9c180ull,
	0xb504f333f9de6484ull, 0xb58297d3a8b9f0d1ull, 0xb60093a85ed5f76bull, 0xb67ee6eea3b22b8full,
	0xb6fd91e328d17791ull, 0xb77c94c2c9d725e8ull, 0xb7fbefca8ca41e7cull, 0xb87ba337a1743833ull,
	0xb8fbaf4762fb9ee9ull, 0xb97c143756844dbeull, 0xb9fcd2452c0b9deaull, 0xba7de9aebe5fea08ull,
	0xbaff5ab2133e45fbull, 0xbb81258d5b704b6full, 0xbc034a7ef2e9fb0cull, 0xbc85c9c560e7b269ull,
	0xbd08a39f580c36beull, 0xbd8bd84bb67ed482ull, 0xbe0f6809860993e2ull, 0xbe935317fc378237ull,
	0xbf1799b67a731082ull, 0xbf9c3c248e2486f8ull, 0xc0213aa1f0d08db0ull, 0xc0a6956e8836ca8cull,
	0xc12c4cca66709456ull, 0xc1b260f5ca0fbb33ull, 0xc238d2311e3d6672ull, 0xc2bfa0bcfad907c8ull,
	0xc346ccda24976407ull, 0xc3ce56c98d21b15dull, 0xc4563ecc5334cb32ull, 0xc4de8523c2c07baaull,
	0xc5672a115506daddull, 0xc5f02dd6b0bbc3d9ull, 0xc67990b5aa245f79ull, 0xc70352f04336c51dull,
	0xc78d74c8abb9b15cull, 0xc817f681416452b2ull, 0xc8a2d85c8ffe2c45ull, 0xc92e1a9d517f0ecbull,
	0xc9b9bd866e2f27a2ull, 0xca45c15afcc72623ull, 0xcad2265e4290774dull, 0xcb5eecd3b38597c8ull,
	0xcbec14fef2727c5cull, 0xcc799f23d11510e5ull, 0xcd078b86503dcdd1ull, 0xcd95da6a9ff06444ull,
	0xce248c151f8480e3ull, 0xceb3a0ca5dc6a55dull, 0xcf4318cf191918c1ull, 0xcfd2f4683f94eeb5ull,
	0xd06333daef2b2594ull, 0xd0f3d76c75c5db8cull, 0xd184df6251699ac6ull, 0xd2164c023056bcabull,
	0xd2a81d91f12ae45aull, 0xd33a5457a3029054ull, 0xd3ccf099859ac379ull, 0xd45ff29e0972c560ull,
	0xd4f35aabcfedfa1full, 0xd5872909ab75d189ull, 0xd61b5dfe9f9bce06ull, 0xd6aff9d1e13ba2fdull,
	0xd744fccad69d6af4ull, 0xd7da67311797f569ull, 0xd870394c6db32c84ull, 0xd9067364d44a929bull,
	0xd99d15c278afd7b5ull, 0xda3420adba4d8704ull, 0xdacb946f2ac9cc71ull, 0xdb63714f8e295255ull,
	0xdbfbb797daf23755ull, 0xdc9467913a4f1c91ull, 0xdd2d818508324c20ull, 0xddc705bcd378f7f0ull,
	0xde60f4825e0e9123ull, 0xdefb4e1f9d1037f1ull, 0xdf9612deb8f04420ull, 0xe031430a0d99e627ull,
	0xe0ccdeec2a94e111ull, 0xe168e6cfd3295d23ull, 0xe2055afffe83d368ull, 0xe2a23bc7d7d91225ull,
	0xe33f8972be8a5a51ull, 0xe3dd444c46499618ull, 0xe47b6ca0373da88dull, 0xe51a02ba8e26d680ull,
	0xe5b906e77c8348a8ull, 0xe658797368b3a716ull, 0xe6f85aaaee1fce22ull, 0xe798aadadd5b9cbeull,
	0xe8396a503c4bdc68ull, 0xe8da9958464b42aaull, 0xe97c38406c4f8c56ull, 0xea1e4756550eb27bull,
	0xeac0c6e7dd24392eull, 0xeb63b7431736983full, 0xec0718b64c1cbddcull, 0xecaaeb8ffb03ab40ull,
	0xed4f301ed9942b84ull, 0xedf3e6b1d418a491ull, 0xee990f980da3025bull, 0xef3eab20e032bc6bull,
	0xefe4b99bdcdaf5cbull, 0xf08b3b58cbe8b76aull, 0xf13230a7ad094509ull, 0xf1d999d8b7708cc1ull,
	0xf281773c59ffb139ull, 0xf329c9233b6bae9cull, 0xf3d28fde3a641a5aull, 0xf47bcbbe6db9fddeull,
	0xf5257d152486cc2cull, 0xf5cfa433e6537290ull, 0xf67a416c733f846dull, 0xf7255510c4288238ull,
	0xf7d0df730ad13bb8ull, 0xf87ce0e5b2094d9bull, 0xf92959bb5dd4ba74ull, 0xf9d64a46eb939f35ull,
	0xfa83b2db722a033aull, 0xfb3193cc4227c3f4ull, 0xfbdfed6ce5f09c48ull, 0xfc8ec01121e447bbull,
	0xfd3e0c0cf486c174ull, 0xfdedd1b496a89f34ull, 0xfe9e115c7b8f884bull, 0xff4ecb59511ec8a5ull,
};
/* clang-format on */

#endif

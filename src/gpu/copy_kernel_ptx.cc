// Made by tools/make_copy_kernel.sh from copy_kernel.c: change that.
#include "gpu/copy_kernel_ptx.h"

// clang-format off
namespace gd2fs::cuda {

const char kCopyKernelPtx[] = R"ptx(
.version 6.3
.target sm_70
.address_size 64
.visible .entry gd2fs_copy_tiles(
	.param .u64 gd2fs_copy_tiles_param_0,
	.param .u32 gd2fs_copy_tiles_param_1
)
{
	.reg .pred 	%p<17>;
	.reg .b16 	%rs<3>;
	.reg .b32 	%r<94>;
	.reg .b64 	%rd<135>;
	ld.param.u32 	%r25, [gd2fs_copy_tiles_param_1];
	mov.u32 	%r26, %tid.x;
	mov.u32 	%r27, %ntid.x;
	shr.u32 	%r28, %r27, 5;
	mov.u32 	%r30, %ctaid.x;
	shr.u32 	%r31, %r26, 5;
	mad.lo.s32 	%r87, %r28, %r30, %r31;
	setp.ge.u32 	%p1, %r87, %r25;
	@%p1 bra 	$L__BB0_22;
	ld.param.u64 	%rd54, [gd2fs_copy_tiles_param_0];
	and.b32  	%r1, %r26, 31;
	mov.u32 	%r29, %nctaid.x;
	mul.lo.s32 	%r2, %r28, %r29;
	mul.wide.u32 	%rd55, %r87, 24;
	add.s64 	%rd56, %rd54, %rd55;
	ld.global.u64 	%rd120, [%rd56];
	ld.global.u64 	%rd121, [%rd56+8];
	ld.global.u64 	%rd122, [%rd56+16];
	cvt.u64.u32 	%rd4, %r1;
	mul.wide.u32 	%rd5, %r1, 4;
	or.b64  	%rd6, %rd5, 512;
	mul.wide.u32 	%rd7, %r1, 16;
	or.b64  	%rd8, %rd7, 2048;
	mov.u64 	%rd123, %rd122;
	mov.u64 	%rd124, %rd121;
	mov.u64 	%rd125, %rd120;
	bra.uni 	$L__BB0_2;
$L__BB0_21:
	setp.lt.u32 	%p16, %r87, %r25;
	mov.u64 	%rd120, %rd125;
	mov.u64 	%rd121, %rd124;
	mov.u64 	%rd122, %rd123;
	@%p16 bra 	$L__BB0_2;
	bra.uni 	$L__BB0_22;
$L__BB0_2:
	.pragma "nounroll";
	add.s32 	%r87, %r87, %r2;
	setp.ge.u32 	%p2, %r87, %r25;
	@%p2 bra 	$L__BB0_4;
	mul.wide.u32 	%rd57, %r87, 24;
	add.s64 	%rd12, %rd54, %rd57;
	ld.global.u64 	%rd125, [%rd12];
	ld.global.u64 	%rd124, [%rd12+8];
	ld.global.u64 	%rd123, [%rd12+16];
$L__BB0_4:
	cvt.u32.u64 	%r5, %rd122;
	cvt.u32.u64 	%r32, %rd120;
	neg.s32 	%r33, %r32;
	and.b32  	%r34, %r33, 15;
	min.u32 	%r7, %r34, %r5;
	setp.ge.u32 	%p3, %r1, %r7;
	@%p3 bra 	$L__BB0_6;
	add.s64 	%rd19, %rd121, %rd4;
	add.s64 	%rd20, %rd120, %rd4;
	ld.global.u8 	%rs1, [%rd19];
	st.global.u8 	[%rd20], %rs1;
$L__BB0_6:
	cvt.u64.u32 	%rd58, %r7;
	add.s64 	%rd21, %rd120, %rd58;
	add.s64 	%rd22, %rd121, %rd58;
	sub.s32 	%r8, %r5, %r7;
	xor.b64  	%rd59, %rd22, %rd21;
	and.b64  	%rd60, %rd59, 15;
	setp.ne.s64 	%p4, %rd60, 0;
	@%p4 bra 	$L__BB0_13;
	bra.uni 	$L__BB0_7;
$L__BB0_13:
	mov.b32 	%r91, 0;
	shr.u32 	%r36, %r8, 2;
	and.b32  	%r16, %r36, 1073741820;
	cvt.u32.u64 	%r37, %rd22;
	shl.b32 	%r38, %r37, 3;
	and.b32  	%r17, %r38, 24;
	and.b64  	%rd35, %rd22, -4;
	setp.ne.s32 	%p5, %r17, 0;
	selp.u32 	%r18, 1, 0, %p5;
	setp.lt.u32 	%p6, %r8, 1024;
	cvt.u64.u32 	%rd119, %r17;
	@%p6 bra 	$L__BB0_16;
	add.s64 	%rd131, %rd35, %rd6;
	mul.wide.u32 	%rd38, %r18, 4;
	add.s64 	%rd130, %rd21, %rd6;
	mov.b32 	%r92, 0;
$L__BB0_15:
	ld.global.u32 	%rd61, [%rd131+-512];
	add.s64 	%rd62, %rd131, %rd38;
	ld.global.u32 	%rd63, [%rd131+-384];
	ld.global.u32 	%rd64, [%rd131+-256];
	ld.global.u32 	%rd65, [%rd131+-128];
	ld.global.u32 	%rd66, [%rd131];
	ld.global.u32 	%rd67, [%rd131+128];
	ld.global.u32 	%rd68, [%rd131+256];
	ld.global.u32 	%rd69, [%rd131+384];
	ld.global.u32 	%rd70, [%rd62+-512];
	shl.b64 	%rd71, %rd70, 32;
	or.b64  	%rd72, %rd71, %rd61;
	cvt.u32.u64 	%r41, %rd119;
	shr.u64 	%rd73, %rd72, %r41;
	ld.global.u32 	%rd74, [%rd62+-384];
	ld.global.u32 	%rd75, [%rd62+-256];
	ld.global.u32 	%rd76, [%rd62+-128];
	ld.global.u32 	%rd77, [%rd62];
	ld.global.u32 	%rd78, [%rd62+128];
	ld.global.u32 	%rd79, [%rd62+256];
	ld.global.u32 	%rd80, [%rd62+384];
	st.global.u32 	[%rd130+-512], %rd73;
	shl.b64 	%rd81, %rd74, 32;
	or.b64  	%rd82, %rd81, %rd63;
	shr.u64 	%rd83, %rd82, %r41;
	st.global.u32 	[%rd130+-384], %rd83;
	shl.b64 	%rd84, %rd75, 32;
	or.b64  	%rd85, %rd84, %rd64;
	shr.u64 	%rd86, %rd85, %r41;
	st.global.u32 	[%rd130+-256], %rd86;
	shl.b64 	%rd87, %rd76, 32;
	or.b64  	%rd88, %rd87, %rd65;
	shr.u64 	%rd89, %rd88, %r41;
	st.global.u32 	[%rd130+-128], %rd89;
	shl.b64 	%rd90, %rd77, 32;
	or.b64  	%rd91, %rd90, %rd66;
	shr.u64 	%rd92, %rd91, %r41;
	st.global.u32 	[%rd130], %rd92;
	shl.b64 	%rd93, %rd78, 32;
	or.b64  	%rd94, %rd93, %rd67;
	shr.u64 	%rd95, %rd94, %r41;
	st.global.u32 	[%rd130+128], %rd95;
	shl.b64 	%rd96, %rd79, 32;
	or.b64  	%rd97, %rd96, %rd68;
	shr.u64 	%rd98, %rd97, %r41;
	st.global.u32 	[%rd130+256], %rd98;
	shl.b64 	%rd99, %rd80, 32;
	or.b64  	%rd100, %rd99, %rd69;
	shr.u64 	%rd101, %rd100, %r41;
	st.global.u32 	[%rd130+384], %rd101;
	add.s32 	%r91, %r92, 256;
	add.s32 	%r42, %r92, 512;
	add.s64 	%rd131, %rd131, 1024;
	add.s64 	%rd130, %rd130, 1024;
	setp.gt.u32 	%p8, %r42, %r16;
	mov.u32 	%r92, %r91;
	@%p8 bra 	$L__BB0_16;
	bra.uni 	$L__BB0_15;
$L__BB0_16:
	or.b32  	%r93, %r91, %r1;
	setp.ge.u32 	%p9, %r93, %r16;
	@%p9 bra 	$L__BB0_19;
	add.s64 	%rd102, %rd21, %rd5;
	mul.wide.u32 	%rd103, %r91, 4;
	add.s64 	%rd134, %rd102, %rd103;
	add.s64 	%rd104, %rd35, %rd5;
	add.s64 	%rd133, %rd104, %rd103;
	add.s32 	%r43, %r91, %r18;
	mul.wide.u32 	%rd105, %r43, 4;
	add.s64 	%rd132, %rd104, %rd105;
$L__BB0_18:
	.pragma "nounroll";
	ld.global.u32 	%rd106, [%rd132];
	shl.b64 	%rd107, %rd106, 32;
	ld.global.u32 	%rd108, [%rd133];
	or.b64  	%rd109, %rd107, %rd108;
	cvt.u32.u64 	%r44, %rd119;
	shr.u64 	%rd110, %rd109, %r44;
	st.global.u32 	[%rd134], %rd110;
	add.s32 	%r93, %r93, 32;
	add.s64 	%rd134, %rd134, 128;
	add.s64 	%rd133, %rd133, 128;
	add.s64 	%rd132, %rd132, 128;
	setp.lt.u32 	%p10, %r93, %r16;
	@%p10 bra 	$L__BB0_18;
	bra.uni 	$L__BB0_19;
$L__BB0_7:
	shr.u32 	%r9, %r8, 4;
	setp.lt.u32 	%p11, %r8, 4096;
	mov.b32 	%r88, 0;
	@%p11 bra 	$L__BB0_10;
	add.s64 	%rd127, %rd22, %rd8;
	add.s64 	%rd126, %rd21, %rd8;
	mov.b32 	%r89, 0;
$L__BB0_9:
	ld.global.v4.u32 	{%r47, %r48, %r49, %r50}, [%rd127+-2048];
	ld.global.v4.u32 	{%r51, %r52, %r53, %r54}, [%rd127+-1536];
	ld.global.v4.u32 	{%r55, %r56, %r57, %r58}, [%rd127+-1024];
	ld.global.v4.u32 	{%r59, %r60, %r61, %r62}, [%rd127+-512];
	ld.global.v4.u32 	{%r63, %r64, %r65, %r66}, [%rd127];
	ld.global.v4.u32 	{%r67, %r68, %r69, %r70}, [%rd127+512];
	ld.global.v4.u32 	{%r71, %r72, %r73, %r74}, [%rd127+1024];
	ld.global.v4.u32 	{%r75, %r76, %r77, %r78}, [%rd127+1536];
	st.global.v4.u32 	[%rd126+-2048], {%r47, %r48, %r49, %r50};
	st.global.v4.u32 	[%rd126+-1536], {%r51, %r52, %r53, %r54};
	st.global.v4.u32 	[%rd126+-1024], {%r55, %r56, %r57, %r58};
	st.global.v4.u32 	[%rd126+-512], {%r59, %r60, %r61, %r62};
	st.global.v4.u32 	[%rd126], {%r63, %r64, %r65, %r66};
	st.global.v4.u32 	[%rd126+512], {%r67, %r68, %r69, %r70};
	st.global.v4.u32 	[%rd126+1024], {%r71, %r72, %r73, %r74};
	st.global.v4.u32 	[%rd126+1536], {%r75, %r76, %r77, %r78};
	add.s32 	%r88, %r89, 256;
	add.s32 	%r79, %r89, 512;
	add.s64 	%rd127, %rd127, 4096;
	add.s64 	%rd126, %rd126, 4096;
	setp.gt.u32 	%p12, %r79, %r9;
	mov.u32 	%r89, %r88;
	@%p12 bra 	$L__BB0_10;
	bra.uni 	$L__BB0_9;
$L__BB0_10:
	or.b32  	%r90, %r88, %r1;
	setp.ge.u32 	%p13, %r90, %r9;
	@%p13 bra 	$L__BB0_19;
	add.s64 	%rd111, %rd21, %rd7;
	mul.wide.u32 	%rd112, %r88, 16;
	add.s64 	%rd129, %rd111, %rd112;
	add.s64 	%rd113, %rd22, %rd7;
	add.s64 	%rd128, %rd113, %rd112;
$L__BB0_12:
	.pragma "nounroll";
	ld.global.v4.u32 	{%r80, %r81, %r82, %r83}, [%rd128];
	st.global.v4.u32 	[%rd129], {%r80, %r81, %r82, %r83};
	add.s32 	%r90, %r90, 32;
	add.s64 	%rd129, %rd129, 512;
	add.s64 	%rd128, %rd128, 512;
	setp.lt.u32 	%p14, %r90, %r9;
	@%p14 bra 	$L__BB0_12;
$L__BB0_19:
	and.b32  	%r84, %r8, 15;
	setp.ge.u32 	%p15, %r1, %r84;
	@%p15 bra 	$L__BB0_21;
	and.b32  	%r85, %r8, -16;
	cvt.u64.u32 	%rd114, %r85;
	add.s64 	%rd115, %rd22, %rd114;
	add.s64 	%rd116, %rd115, %rd4;
	add.s64 	%rd117, %rd21, %rd114;
	add.s64 	%rd118, %rd117, %rd4;
	ld.global.u8 	%rs2, [%rd116];
	st.global.u8 	[%rd118], %rs2;
	bra.uni 	$L__BB0_21;
$L__BB0_22:
	ret;
}
)ptx";

}  // namespace gd2fs::cuda
